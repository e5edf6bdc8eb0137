"""Arguments that several commands share, and what they name: data sets, runs, devices, trusted packages."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megalabel.cli.streams import to_stderr
from megalabel.errors import DataError, MegalabelError, SettingError

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus, Split

MOST_THREADS = 1024  # more than any machine gains from, and fewer than systems allow for a process
_DATA = "A folder or file of data, or bundled:NAME; `megalabel data check --help` shows how it can be read."
DataSet = Annotated[str, typer.Argument(metavar="DATA", help=_DATA)]
MaybeDataSet = Annotated[str | None, typer.Argument(metavar="[DATA]", help=_DATA)]
DataOfRun = Annotated[
    str | None,
    typer.Argument(metavar="[DATA]", help="The data set; default: that of the run."),
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="The data set; default: that of the runs."),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or its model folder.")]
NewFolder = Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")]
OutRun = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The run folder to write.")]
Device = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1; default: the first GPU, or the CPU.")
]
Threads = Annotated[int | None, typer.Option(metavar="INT", help="CPU threads; default: one per core.")]
TextField = Annotated[str | None, typer.Option(metavar="NAME", help="Column or key of the texts; default: text.")]
Encoding = Annotated[
    str | None, typer.Option(metavar="NAME", help="Encoding of text files, such as cp1252; default: UTF-8.")
]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PACKAGE",
        help="Package whose code may be imported, installed or in the working folder; repeatable.",
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
    """The path of a data set that is named on the command line."""
    from megalabel.data.catalog import bundled_folder
    from megalabel.storage.paths import as_path

    name = data.removeprefix("bundled:")
    if "://" in data:
        raise DataError(
            f"{data} is an address",
            wanted="a folder or a file on this machine, or bundled:NAME",
            next_step="download the data set first",
            where=data,
        )
    return bundled_folder(name) if name != data else as_path(data, "data")


def open_data(data: str, opened: Mapping[str, Any] | None = None) -> Corpus:
    """The data set that is named on the command line; prints what its reader had to choose.

    `opened` are arguments of `Corpus.open`.
    """
    from megalabel.data.corpus import Corpus

    name = data.removeprefix("bundled:")
    said = {} if name == data else {"name": name}
    corpus = Corpus.open(data_path(data), **{**said, **(opened or {})})
    for note in corpus.notes:
        typer.echo(f"{corpus.name}: {note}", err=True)
    return corpus


def open_data_of(run: str | Path, data: str | None, opened: Mapping[str, Any] | None = None) -> Corpus:
    """The data set that is named on the command line or, without a name, the one that a run was trained on.

    That one is read as the run read it, where `opened` does not say otherwise.

    Raises:
        SettingError: no data set is named, and the run does not say where its data set is, or it is gone.
    """
    if data is not None:
        return open_data(data, opened)
    return open_data(data_of(run), {**recorded(_facts_of(run)), **(opened or {})})


def open_data_to_measure(
    run: str | Path, data: str | None, opened: Mapping[str, Any] | None = None, known: Iterable[str] = ()
) -> tuple[Corpus, Split]:
    """The data set to measure on and its split that is measured: its test split, or all of a file or folder that
    holds one split alone. Prints what its reader had to choose.

    The arguments are those of `open_data_of`, and `known` that of `open_to_measure`.
    """
    from megalabel.data.test_side import open_to_measure

    named = data is not None
    if data is None:
        data, opened = data_of(run), {**recorded(_facts_of(run)), **(opened or {})}
        if Path(data).is_file():
            raise DataError(
                f"the run in {run} was trained on one file, which holds no test texts",
                wanted="labeled texts that the model has not learned",
                next_step=f"name labeled texts, as in megalabel evaluate {run} DATA; or set some aside with "
                "megalabel data split, and train on the others",
                where=data,
            )
    opened = {**parts_of(run), **(opened or {})}  # texts as the model was trained on them
    corpus, split = open_to_measure(
        data_path(data),
        known=known,
        recorded=opened_by(run) if named else None,
        say=to_stderr,
        **opened,
    )
    for note in corpus.notes:
        typer.echo(f"{corpus.name}: {note}", err=True)
    for finding in corpus.findings if named else ():  # training has shown those of its own data
        if finding.notable:
            typer.echo(str(finding), err=True)
    return corpus, split


def data_of(run: str | Path) -> str:
    """Where the data set of a run is, from its recipe.json; SettingError if that is not known, or it is gone."""
    recorded = _facts_of(run)
    path = recorded.get("path")
    if not path or not Path(path).exists():
        raise SettingError(
            f"the run in {run} was trained on {recorded.get('name')!r}, which was in {path or 'no folder'}",
            wanted="its data set",
            next_step="name the data set",
            where="data",
        )
    return str(path)


def recorded(facts: Mapping[str, Any]) -> dict[str, Any]:
    """How a data set was opened that `data_facts` describes, as arguments of `Corpus.open`."""
    return {"name": facts.get("name"), **facts.get("opened", {})}


def opened_by(run: str | Path) -> dict[str, Any]:
    """How a run opened its data, as arguments of `Corpus.open`; nothing where that is not known."""
    try:
        opened = _facts_of(run).get("opened", {})
    except (MegalabelError, OSError, KeyError):
        return {}  # no run, such as stored predictions or a model folder that was copied alone
    return opened if isinstance(opened, dict) else {}


def format_of_run(run: str | Path) -> str:
    """The format of the data set of a run, as it was given or as its files show it; "" where that is not known."""
    from megalabel.data.opening import locate

    format = opened_by(run).get("format")
    if format is None:
        with contextlib.suppress(MegalabelError, OSError, KeyError):
            format = locate(data_of(run))[1].name
    return str(format or "")


def parts_of(run: str | Path) -> dict[str, str]:
    """Arguments of `Corpus.open` for the parts, title and content, that the texts of a run were made of."""
    opened = opened_by(run)
    parts: dict[str, str] = {key: opened[key] for key in ("text_parts", "text_separator") if key in opened}
    with contextlib.suppress(MegalabelError, OSError, KeyError):
        if "titles" in str(_facts_of(run).get("name")).lower():
            return {"text_parts": "title", **parts}
    return parts


def _facts_of(run: str | Path) -> dict[str, Any]:
    """What the recipe.json of a run says of its data set."""
    from megalabel.training.run_folder import finished_run

    folder = Path(run)
    if (folder / "manifest.json").exists() and (folder.parent / "recipe.json").exists():
        folder = folder.parent  # of a model folder
    facts: dict[str, Any] = finished_run(folder)["data"]
    return facts


def use_threads(threads: int | None) -> None:
    """Sets the number of CPU threads, where one is given."""
    if threads is None:
        return
    import torch

    if not 1 <= threads <= MOST_THREADS:
        raise SettingError.range("threads", threads, 1, MOST_THREADS, integer=True)
    torch.set_num_threads(threads)
