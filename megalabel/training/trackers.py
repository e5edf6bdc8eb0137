"""Experiment trackers as callbacks of `train`: TensorBoard, MLflow, Weights & Biases and trackio.

Each is fed with the lines of `log.jsonl`: numbers under their names, those of a dictionary as "validation/P@1".
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from megalabel.errors import MissingExtra, SettingError

Say = Callable[[str], Any]


class Tracker(ABC):
    """A callback for `train(callback=...)` that hands numbers to a tracker; a context manager that ends it.

    Its run begins with the first line, so that loading a finished run makes none. An error of the tracker is
    reported once, and the training goes on without it.

    Args:
        out: the run folder, whose name is the name of the run.
        arguments: the recipe's arguments, which become its parameters.
        say: takes the line that reports an error.
    """

    package: ClassVar[str]  # that has to be installed

    def __init__(self, out: str | Path, arguments: Mapping[str, Any] | None = None, *, say: Say = print) -> None:
        self.out, self._say, self._begun, self._broken = Path(out), say, False, False
        self._entered = False
        self._arguments = {key: _plain(value) for key, value in (arguments or {}).items()}

    def __enter__(self) -> Self:
        self._module, self._entered = _imported(self.package), True
        return self

    def __exit__(self, *_: object) -> None:
        if self._begun:
            self._guarded(self.end)

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Takes a line of the log; SettingError outside of a `with` block, where nothing would end the run."""
        if not self._entered:
            raise SettingError(
                f"a {type(self).__name__} that no `with` block has entered",
                wanted="a tracker that is ended too",
                next_step=f"write `with {type(self).__name__}(out) as tracker:` around the training",
                where="callback",
            )
        self._guarded(lambda: self._take(line))

    def _take(self, line: Mapping[str, Any]) -> None:
        if not self._begun:
            self.start(self._module)
            self._begun = True
        self.log(numbers_of(line), int(line["step"]))

    @abstractmethod
    def start(self, module: Any) -> None:
        """Begins a run of the tracker, with its parameters; `module` is its package."""

    @abstractmethod
    def log(self, numbers: dict[str, float], step: int) -> None:
        """Hands numbers to the tracker."""

    @abstractmethod
    def end(self) -> None:
        """Ends the run of the tracker."""

    def _guarded(self, call: Callable[[], Any]) -> None:
        if self._broken:
            return
        try:
            call()
        except Exception as error:
            self._broken = True
            self._say(f"{self.package}: {type(error).__name__}: {error}; the training goes on without it")


class TensorBoard(Tracker):
    """Writes event files to `OUT/tensorboard`; show them with `tensorboard --logdir OUT`."""

    package = "tensorboard"

    def start(self, module: Any) -> None:
        """Opens an event file."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(self.out / "tensorboard"))
        rows = "\n".join(f"| {key} | {value} |" for key, value in self._arguments.items())
        self._writer.add_text("arguments", f"| argument | value |\n|---|---|\n{rows}", 0)

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Adds scalars."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def end(self) -> None:
        """Closes the file."""
        self._writer.close()


class MLflow(Tracker):
    """A run of MLflow, in the experiment and on the server that MLflow's environment variables name."""

    package = "mlflow"

    def start(self, module: Any) -> None:
        """Starts a run and logs the parameters."""
        self._mlflow = module
        module.start_run(run_name=self.out.name)
        module.log_params(self._arguments)

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Logs metrics; MLflow allows no @ in their names."""
        self._mlflow.log_metrics({name.replace("@", "_at_"): value for name, value in numbers.items()}, step=step)

    def end(self) -> None:
        """Ends the run."""
        self._mlflow.end_run()


class WandB(Tracker):
    """A run of Weights & Biases, in the project "megalabel" unless WANDB_PROJECT names another."""

    package = "wandb"

    def start(self, module: Any) -> None:
        """Starts a run with the parameters as its configuration."""
        import os

        project = os.environ.get("WANDB_PROJECT", "megalabel")
        self._run = module.init(project=project, name=self.out.name, config=self._arguments, dir=str(self.out))

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Logs numbers."""
        self._run.log(numbers, step=step)

    def end(self) -> None:
        """Finishes the run."""
        self._run.finish()


class Trackio(Tracker):
    """A run of trackio, in the project "megalabel"; show it with `trackio show`."""

    package = "trackio"

    def start(self, module: Any) -> None:
        """Starts a run with the parameters as its configuration."""
        self._trackio = module
        module.init(project="megalabel", name=self.out.name, config=self._arguments)

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Logs numbers."""
        self._trackio.log(numbers, step=step)

    def end(self) -> None:
        """Finishes the run."""
        self._trackio.finish()


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
    "trackio": Trackio,
}


def tracker(name: str) -> type[Tracker]:
    """The tracker of this name; SettingError if there is none."""
    if name not in TRACKERS:
        raise SettingError.choice("track", name, TRACKERS)
    return TRACKERS[name]


def check_tracked(names: Sequence[str], recipe: Any) -> None:
    """Raises, before the work, where a tracker is unknown or not installed, or the recipe has no log."""
    for name in names:
        _imported(tracker(name).package)
    if names and "epochs" not in recipe.options.declared:
        raise SettingError(
            f"the recipe {recipe.address} solves its model directly, and writes no log",
            wanted="a recipe that trains in steps, such as renee",
            where="track",
        )


def together(trackers: Sequence[Tracker]) -> Callable[[Mapping[str, Any]], None] | None:
    """One callback that calls all of these; None for none."""
    if not trackers:
        return None

    def call(line: Mapping[str, Any]) -> None:
        for each in trackers:
            each(line)

    return call


def numbers_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of the log by name, without its step; those of a dictionary as "key/name"."""
    found: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, Mapping):
            found |= {f"{key}/{name}": number for name, number in numbers_of(value).items()}
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and key != "step":
            found[key] = float(value)
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtra(
            f"{package} is not installed",
            wanted=f"the package {package} for --track {package}",
            next_step=f"run pip install {package}",
            where="track",
        ) from error
