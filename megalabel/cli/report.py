"""`megalabel report`: runs or stored predictions as one HTML file, or their essentials in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import Device, Trust, open_data_to_measure, trusting
from megalabel.cli.reading import reads
from megalabel.cli.streams import to_stderr
from megalabel.errors import SettingError

Runs = Annotated[
    list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders, or their model folders.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FILE", help="HTML file to write; default: report.html in the run folder."
    ),
]
Stored = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Stored predictions (.npz, .jsonl), with --data; repeatable."),
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="The data set to measure on; default: that of the first run."),
]
Most = Annotated[
    int, typer.Option(metavar="INT", help="Texts to measure on; if there are more, this many are drawn.")
]


@reads
def report(
    runs: Runs = None,
    out: Out = None,
    text: Annotated[bool, typer.Option("--text", help="Print the essentials instead of writing a page.")] = False,
    predictions: Stored = None,
    data: Data = None,
    max_texts: Most = 20_000,
    batch_size: Annotated[int, typer.Option(metavar="INT", help="Texts per batch.")] = 256,
    trust: Trust = None,
    device: Device = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Report what was trained, how well it ranks labels, and where it is weak, as one HTML file."""
    runs, predictions = runs or [], predictions or []
    file = _checked(runs, predictions, data, out, text)
    with trusting(trust):
        subjects = _subjects(runs, predictions, data, opened, max_texts, batch_size, device, trust or ())
    from megalabel.reporting import page
    from megalabel.reporting.build import report_on

    made = report_on(subjects)
    if file is None:
        typer.echo(page.text(made))
        return
    from megalabel.storage.files import write_text

    write_text(file, page.html(made))
    typer.echo(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")


def _checked(
    runs: Sequence[Path], predictions: Sequence[Path], data: str | None, out: Path | None, text: bool
) -> Path | None:
    """The file to write, None for text; what is missing or does not fit together is an error before the work."""
    if not runs and not predictions:
        raise SettingError(
            "neither a run nor --predictions", wanted="a run folder, such as runs/linear", where="report"
        )
    if predictions and data is None and not runs:
        raise SettingError(
            f"{predictions[0]} holds predictions, and no data set is named",
            wanted="the data set with the true labels",
            next_step="add --data DATA",
            where="data",
        )
    for file in predictions:
        _check_stored(file)
    given = [path.resolve() for path in (*runs, *predictions)]
    if again := next((path for i, path in enumerate(given) if path in given[:i]), None):
        raise SettingError(f"{again} is given twice", wanted="each run or file once", where="report")
    if text:
        if out is not None:
            raise SettingError("--text and --out", wanted="one of them", next_step="leave --text out for a page")
        return None
    out = _default(runs, predictions) if out is None else out
    from megalabel.reporting.drawing import check_extra
    from megalabel.storage.paths import as_path

    file = as_path(out, "out")
    if file.is_dir() or file.suffix.lower() not in (".html", ".htm"):
        what = "a folder" if file.is_dir() else "the name of no HTML file"
        raise SettingError(f"{file} is {what}", wanted="the name of a file that ends in .html", where="out")
    check_extra()
    return file


def _default(runs: Sequence[Path], predictions: Sequence[Path]) -> Path:
    """The file in the folder of a single run; SettingError for anything else."""
    from megalabel.reporting.ranking import run_folder
    from megalabel.storage.manifest import NAME

    run = run_folder(runs[0]) if len(runs) == 1 and not predictions else None
    if run is not None:
        return run / "report.html"
    if len(runs) == 1 and not predictions and not (runs[0] / NAME).exists():
        return runs[0] / "report.html"  # of a folder that loading will refuse
    raise SettingError("no file is named for the report", wanted="-o FILE, such as -o report.html", where="out")


def _check_stored(file: Path) -> None:
    from megalabel.inference.stored_files import LINES, NPZ, is_predictions

    if not is_predictions(file):
        found = "is no file of predictions" if file.exists() else "does not exist"
        raise SettingError(
            f"{file} {found}",
            wanted=f"a file that ends in {', '.join([*NPZ, *LINES[:2]])}",
            next_step="write it with `megalabel predict RUN TEXTS -k 10 -o FILE.npz`",
            where="predictions",
        )


def _subjects(
    runs: Sequence[Path],
    predictions: Sequence[Path],
    data: str | None,
    opened: dict[str, Any],
    max_texts: int,
    batch_size: int,
    device: str | None,
    trust: Sequence[str],
) -> list[Any]:
    """The rankings of each run and file of predictions, all of the same texts."""
    from megalabel.models.base import load
    from megalabel.models.find import note_unfinished
    from megalabel.reporting.ranking import of_model, of_predictions, same_data, unique_titles

    if data is None:
        same_data(runs)
    titles, found, corpus, split = unique_titles([*runs, *predictions]), [], None, None
    for run, title in zip(runs, titles, strict=False):
        model = load(run, device=device, trust=trust)
        model.few_pages = True
        note_unfinished(run, to_stderr)
        if corpus is None or split is None:
            corpus, split = open_data_to_measure(run, data, opened, model.label_texts)
        shown = {"title": title, "most_texts": max_texts, "batch_size": batch_size, "progress": True}
        found.append(of_model(run, model, corpus, split, **shown))  # type: ignore[arg-type]
    for file, title in zip(predictions, titles[len(runs) :], strict=True):
        if corpus is None or split is None:
            corpus, split = open_data_to_measure(file, data, opened)
        found.append(of_predictions(file, corpus, split, title=title, most_texts=max_texts))
    for subject in found:
        for note in subject.notes:
            to_stderr(f"{subject.title}: {note}")
    return found
