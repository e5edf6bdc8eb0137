"""How the server runs: models, address, workers, and what its answers need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from megalabel.device import cores
from megalabel.errors import SettingError
from megalabel.serving.limits import Limits
from megalabel.serving.logs import Log

NAMES = re.compile(r"[\w.+-]{1,80}")
SHORTEST = 16  # characters of a token


@dataclass(frozen=True)
class Settings:
    """What is the same for all workers.

    Attributes:
        runs: the folders of the models by their names, the default one first.
        host, port: the address.
        workers: processes that answer.
        threads: CPU threads of a worker that rank; None for the cores divided by the workers.
        mapped: whether the weights of linear trees stay in their files; otherwise `prepack` copies them.
        limits: bounds of requests.
        feedback: the file for feedback.
        tokens: secrets of clients.
        origins: other web sites whose pages may ask the server.
        watch: seconds between two looks for new versions of the models; 0 for none.
        device, trust: those of `megalabel.load`.
        log: where events go.
    """

    runs: dict[str, Path]
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    threads: int | None = None
    mapped: bool = False
    limits: Limits = field(default_factory=Limits)
    feedback: Path | None = None
    tokens: Sequence[bytes] = ()
    origins: Sequence[str] = ()
    watch: float = 2.0
    device: str | None = "cpu"
    trust: Sequence[str] = ()
    log: Log = field(default_factory=Log)

    @property
    def threads_per_worker(self) -> int:
        """CPU threads of each worker."""
        return self.threads or max(1, cores() // self.workers)


def named_runs(runs: Sequence[str]) -> dict[str, Path]:
    """Runs by name, from arguments RUN or NAME=RUN; without a name it is that of the run's folder.

    Raises:
        SettingError: two runs with a name, or a name with other characters than letters, digits and . + - _.
    """
    found: dict[str, Path] = {}
    for run in runs:
        name, sign, path = run.partition("=")
        if not sign or Path(run).exists():
            path = run
            folder = Path(path) if Path(path).name not in ("", ".", "..") else Path(path).resolve()
            name = folder.parent.resolve().name if folder.name == "model" else folder.name
        if not NAMES.fullmatch(name):
            raise SettingError(
                f"the name {name!r} of a model",
                wanted="letters, digits and . + - _, at most 80",
                next_step=f"name it: NAME={path}",
                where="run",
            )
        if name in found:
            raise SettingError(
                f"two models are called {name}", wanted="a name for each",
                next_step=f"name one of them: OTHER={path}", where="run",
            )  # fmt: skip
        found[name] = Path(path)
    return found


def read_tokens(path: Path | None) -> list[bytes]:
    """The tokens in a file, one per line; empty lines and lines that begin with # are left out.

    Raises:
        SettingError: the file cannot be read, holds no token, or one that is short or not ASCII.
    """
    if path is None:
        return []
    try:
        lines = [line.strip() for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}", wanted="a file of tokens", where="token_file") from error
    found = [line for line in lines if line and not line.startswith(b"#")]
    for line in found:
        if len(line) < SHORTEST or not line.isascii() or b" " in line:
            raise SettingError(
                f"{path}: a token of {len(line)} characters",
                wanted=f"at least {SHORTEST} ASCII characters without blanks on each line",
                next_step="make one with: openssl rand -hex 32",
                where="token_file",
            )
    if not found:
        raise SettingError(
            f"{path} holds no token", wanted="one per line", next_step="make one with: openssl rand -hex 32",
            where="token_file",
        )  # fmt: skip
    return found
