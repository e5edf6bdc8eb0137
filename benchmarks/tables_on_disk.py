"""Time of a training step with tables on disk under a cap of memory, as a ratio to tables in memory without one.

    python benchmarks/tables_on_disk.py dense --labels 8600000 --dim 384 --cap 4GiB --steps 10
    python benchmarks/tables_on_disk.py cascade --labels 1000000 --dim 256 --cap 2GiB
    python benchmarks/tables_on_disk.py sparse --labels 3000000 --cap 1GiB

`dense` has float8 weights and SGD, `cascade` float32 weights and AdamW of rows, `sparse` 32 connections per label
and AdamW. Two processes take turns, one step each, so that other load on the machine slows both; one of them is
in a cgroup of its own, whose memory is capped. The cap also counts the pages of files that the process has read or
written. Making a cgroup needs root; without it the process has tables on disk but no cap, and the rows say so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
UNITS = {"GiB": 1 << 30, "MiB": 1 << 20}


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("head", choices=["dense", "cascade", "sparse"])
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--cap", default="4GiB")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="on the disk of the tables")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--tables", choices=["memory", "disk"], help=argparse.SUPPRESS)
    parser.add_argument("--cgroup", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tables:
        serve(options)
    else:
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Starts both processes, lets them take turns, and prints and records what they took."""
    limit = int(options.cap[:-3]) * UNITS[options.cap[-3:]]
    taken: dict[str, list[float]] = {"memory": [], "disk": []}
    with capped(limit) as group:
        common = [sys.executable, __file__, *sys.argv[1:]]
        children = {
            "memory": Child([*common, "--tables", "memory"]),
            "disk": Child([*common, "--tables", "disk", *(["--cgroup", str(group)] if group else [])]),
        }
        made = {name: child.answer() for name, child in children.items()}
        for _ in range(options.steps):
            for name, child in children.items():
                taken[name].append(child.turn()[0])
        ends = {name: child.turn(end=True) for name, child in children.items()}
        largest = peak_of(group) if group else float("nan")
    found = {
        "memory: tables": (made["memory"][0], "MB"),
        "memory: peak of the process": (ends["memory"][0], "MB"),
        "memory: step": (median(taken["memory"]), "s"),
        "disk: peak of the process": (ends["disk"][0], "MB"),
        "disk: peak of the cgroup": (largest, "MB"),
        "disk: step": (median(taken["disk"]), "s"),
        "disk: ratio": (median(taken["disk"]) / median(taken["memory"]), "of memory"),
    }
    cap = options.cap if group else "none"
    shape = f"{options.head} B={options.texts} L={options.labels} D={options.dim}"
    size = f"{shape} steps={options.steps} cap={cap} threads={os.environ.get('OMP_NUM_THREADS', os.cpu_count())}"
    print(size, *(f"{name:32} {value:10.2f} {unit}" for name, (value, unit) in found.items()), sep="\n")
    if not options.no_record:
        import record

        for name, (value, unit) in found.items():
            record.row("tables_on_disk", size, name, float(value), unit)


class Child:
    """A process that makes a step when it is told to, and answers with numbers."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answer(self) -> list[float]:
        """The numbers of the next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process ended with status {self.process.wait()}: killed by its cap if it is -9")
        return [float(word) for word in line.split()]

    def turn(self, *, end: bool = False) -> list[float]:
        """Lets it make a step, or end."""
        assert self.process.stdin is not None
        self.process.stdin.write("end\n" if end else "step\n")
        self.process.stdin.flush()
        return self.answer()


def serve(options: argparse.Namespace) -> None:
    """The other side of `Child`: answers with the megabytes of the tables, seconds of steps, and its peak."""
    if options.cgroup:
        (Path(options.cgroup) / "cgroup.procs").write_text(str(os.getpid()))
    from dense_head import peak_of_this_process

    from megalabel.storage.tables import tables_in, tables_on_disk

    with tables_in(options.folder), tables_on_disk() if options.tables == "disk" else contextlib.nullcontext():
        n_bytes, step = {"dense": dense, "cascade": cascade, "sparse": sparse}[options.head](options)
    print(n_bytes / 1e6, flush=True)
    for line in sys.stdin:
        if line == "end\n":
            break
        begun = time.perf_counter()
        step()
        print(time.perf_counter() - begun, flush=True)
    print(peak_of_this_process(), flush=True)


def dense(options: argparse.Namespace) -> tuple[float, Callable[[], object]]:
    """A dense head with float8 weights, and its step."""
    from narrow_weights import step_of

    return options.labels * (options.dim + 1), step_of(options.texts, options.labels, options.dim, "float8")


def cascade(options: argparse.Namespace) -> tuple[float, Callable[[], object]]:
    """A cascade of three levels with AdamW of rows, and its step."""
    from cascade_ways import batches, ours, tree_of

    from megalabel.heads.cascade import CascadeHead
    from megalabel.storage.tables import release_pages

    depths = (8, 14)
    head = CascadeHead(tree_of(options.labels, depths), options.dim, beams=[64, 64])
    step = ours(head, batches(options.texts, 3, options.labels, options.dim), "adamw")

    def one() -> None:
        step()
        release_pages(touched=True)  # as the training loop does

    return 12 * sum(w.numel() for w in head.weights), one


def sparse(options: argparse.Namespace) -> tuple[float, Callable[[], object]]:
    """A sparse head with AdamW, and its step."""
    from dense_head import batch

    from megalabel.heads.sparse import SparseHead
    from megalabel.storage.tables import release_pages
    from megalabel.training.optim.fused import FusedAdam

    x, positives = batch(options.texts, options.labels, options.dim)
    head = SparseHead(options.labels, options.dim, fan_in=32, loss_every=10**9)
    optimizer = FusedAdam(head, 1e-3)
    head.after_step(0, None)

    def one() -> None:
        x.grad = None
        head.loss(x[:, None], positives).backward()
        optimizer.step()
        release_pages(touched=True)

    inputs = head.get_buffer("inputs")
    return 12 * head.weight.numel() + inputs.numel() * inputs.element_size(), one


@contextlib.contextmanager
def capped(limit: int) -> Iterator[Path | None]:
    """A cgroup with a limit of memory, version 1 or 2; None where none can be made."""
    for parent, name in ((CGROUPS / "memory", "memory.limit_in_bytes"), (CGROUPS, "memory.max")):
        group = parent / f"megalabel-{os.getpid()}"
        try:
            group.mkdir()
            (group / name).write_text(str(limit))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group
        finally:
            for _ in range(50):
                with contextlib.suppress(OSError):
                    group.rmdir()
                    break
                time.sleep(0.1)
        return
    yield None


def peak_of(group: Path) -> float:
    """The most memory that a cgroup had, in MB (10^6 bytes); NaN where it does not say."""
    for name in ("memory.max_usage_in_bytes", "memory.peak"):
        if (group / name).exists():
            return int((group / name).read_text()) / 1e6
    return float("nan")


def median(values: list[float]) -> float:
    """The median."""
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
