"""Runs a function in W processes that exchange tensors by gloo; they are forked from one that has imported all.

`python ranks.py` is that process: a line of its standard input is a JSON list with the number of processes, the
address of the function, a file with its pickled arguments, beside which the results are written, and whether the
function joins the others by itself. It answers with a line of exit codes.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 300  # seconds after which a process is considered to hang
TESTS = Path(__file__).parents[1]


class Ranks:
    """Processes that run functions together."""

    def __init__(self, process: subprocess.Popen, folder: Path) -> None:
        self._process, self._folder, self._n = process, folder, 0

    def run(self, size: int, address: str, *arguments: Any) -> list[Any]:
        """What `module:function(world, *arguments)` returns in each of `size` processes."""
        name, codes = self._started(size, address, arguments, alone=False)
        assert codes == [0] * size, f"exit codes {codes}\n{(self._folder / 'stderr').read_text()[-6000:]}"
        return [pickle.loads(Path(f"{name}.{rank}").read_bytes()) for rank in range(size)]

    def ends(self, size: int, address: str, *arguments: Any) -> list[tuple[int, str]]:
        """The exit code and standard error of each of `size` processes that call `module:function(*arguments)`.

        They have the variables of torchrun, and may end in any way.
        """
        name, codes = self._started(size, address, arguments, alone=True)
        return [(code, Path(f"{name}.{rank}.err").read_text()) for rank, code in enumerate(codes)]

    def _started(self, size: int, address: str, arguments: Any, *, alone: bool) -> tuple[Path, list[int]]:
        assert self._process.stdin and self._process.stdout
        self._n += 1
        name = self._folder / f"{self._n}"
        name.write_bytes(pickle.dumps(arguments))
        print(json.dumps([size, address, str(name), alone]), file=self._process.stdin, flush=True)
        return name, json.loads(self._process.stdout.readline() or "null")


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Ranks]:
    """A process that forks others, and ends with the context."""
    with (folder / "stderr").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__], env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        with process:
            yield Ranks(process, folder)


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _forked(rank: int, size: int, port: int, address: str, name: str, alone: bool) -> int:
    """The id of a child that runs the function as one of the processes."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(PATIENCE)
        os.dup2(2, 1)  # standard output tells exit codes, and gloo of PyTorch 2.8 writes there
        os.environ |= {
            "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }  # fmt: skip
        from megalabel.distributed.world import join

        module, function = address.split(":")
        call, arguments = getattr(importlib.import_module(module), function), pickle.loads(Path(name).read_bytes())
        if alone:
            os.dup2(os.open(f"{name}.{rank}.err", os.O_CREAT | os.O_WRONLY), 2)
            call(*arguments)
            os._exit(0)
        with join(PATIENCE) as world:
            found = call(world, *arguments)
        Path(f"{name}.{rank}").write_bytes(pickle.dumps(found))
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


@functools.cache
def warm_up(module: str) -> None:
    """Calls a module's function `warm_up`, if there is one: what it loads need not be loaded in each process."""
    getattr(importlib.import_module(module), "warm_up", lambda: None)()


def main() -> None:
    """Serves until standard input ends."""
    sys.path.insert(0, str(TESTS))
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        size, address, name, alone = json.loads(line)
        warm_up(address.split(":")[0])
        port = free_port()
        children = [_forked(rank, size, port, address, name, alone) for rank in range(size)]
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)


if __name__ == "__main__":
    main()
