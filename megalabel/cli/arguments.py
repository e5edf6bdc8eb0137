"""Arguments that several commands share, and what they stand for: data sets, runs, devices, trusted packages."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

DataSet = Annotated[str, typer.Argument(metavar="DATA", help="A folder or file of data, or bundled:NAME.")]
DataOfRun = Annotated[
    str | None,
    typer.Argument(metavar="[DATA]", help="The data set; by default the one that the run was trained on."),
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="The data set; by default the one that the runs were trained on."),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or its model folder.")]
NewFolder = Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")]
OutRun = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The run folder to write.")]
Device = Annotated[str | None, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1; by default a GPU if any.")]
Threads = Annotated[int | None, typer.Option(metavar="INT", help="CPU threads; by default all cores.")]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PACKAGE",
        help="A package whose code may be run, installed or in the working folder; may be repeated.",
    ),
]


@contextlib.contextmanager
def trusting(packages: Sequence[str] | None) -> Iterator[None]:
    """Within the block the packages are trusted and, if there are any, found in the working folder too.

    The folder comes last on the search path, so that no file in it replaces a module that is installed.
    """
    from megalabel.training import trust

    folder = os.getcwd()
    added = bool(packages) and folder not in sys.path
    if added:
        sys.path.append(folder)
    try:
        with trust.trusting(packages or ()):
            yield
    finally:
        if added:
            sys.path.remove(folder)


def complete(choices: tuple[object, ...]) -> Callable[[str], list[str]]:
    """Shell completion of an option by its choices."""

    def completion(incomplete: str) -> list[str]:
        return [str(choice) for choice in choices if str(choice).startswith(incomplete)]

    return completion


def data_path(data: str) -> Path:
    """Where a data set lies that is named on the command line."""
    from megalabel.data.catalog import bundled_folder

    name = data.removeprefix("bundled:")
    return bundled_folder(name) if name != data else Path(data)


def open_data(data: str) -> Corpus:
    """The data set that is named on the command line."""
    from megalabel.data.corpus import Corpus

    name = data.removeprefix("bundled:")
    return Corpus.bundled(name) if name != data else Corpus.open(Path(data))


def open_data_of(run: str | Path, data: str | None) -> Corpus:
    """The data set that is named on the command line or, without a name, the one that a run was trained on.

    Raises:
        SettingError: no data set is named, and the run does not say where its data set is, or it is gone.
    """
    return open_data(data if data is not None else data_of(run))


def data_of(run: str | Path) -> str:
    """Where the data set of a run is, from its recipe.json; SettingError if that is not known, or it is gone."""
    from megalabel.training.run_folder import finished_run

    folder = Path(run)
    if (folder / "manifest.json").exists() and (folder.parent / "recipe.json").exists():
        folder = folder.parent  # of a model folder
    recorded = finished_run(folder)["data"]
    path = recorded.get("path")
    if not path or not Path(path).exists():
        raise SettingError(
            f"the run in {run} was trained on {recorded.get('name')!r}, which was in {path or 'no folder'}",
            wanted="its data set",
            next_step="name the data set",
            where="data",
        )
    return str(path)


def use_threads(threads: int | None) -> None:
    """Sets the number of CPU threads, where one is given."""
    if threads is None:
        return
    import torch

    if threads < 1:
        raise SettingError(
            f"{threads} is not a whole number of at least 1",
            wanted="a whole number of at least 1",
            where="threads",
        )
    torch.set_num_threads(threads)
