"""`megalabel evaluate`: a table of metrics of a run or of stored predictions, and `metrics.json`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli import chunk_arguments as chunks
from megalabel.cli.arguments import Device, Trust, open_data_to_measure, trusting
from megalabel.cli.reading import reads
from megalabel.errors import FormatError, SettingError

What = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run folder, its model folder, or stored predictions (.npz, .jsonl)."),
]
Measured = Annotated[
    str | None,
    typer.Argument(
        metavar="[DATA]",
        help="A data set, a folder with test files only, or one file; default: the data set of the run.",
    ),
]
Depths = Annotated[
    str | None,
    typer.Option("--k", "-k", metavar="INTS", help="Cutoffs k of the metrics; default: 1,3,5."),
]
A = Annotated[
    float | None,
    typer.Option(
        "--propensity-a",
        metavar="FLOAT",
        help="Constant A of the propensity model; default: that of the data set.",
    ),
]
B = Annotated[
    float | None,
    typer.Option(
        "--propensity-b",
        metavar="FLOAT",
        help="Constant B of the propensity model; default: that of the data set.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out", "-o", metavar="FILE", help="JSON file to write; default: metrics.json in the run folder."
    ),
]

Export = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Also write embeddings, shortlists and scores of both sides as npz."),
]
TailCurve = Annotated[bool, typer.Option("--tail-curve", help="Also print P@k, PSP@k of predict --tail 0 to 1.")]


@reads
def evaluate(
    run: What,
    data: Measured = None,
    k: Depths = None,
    a: A = None,
    b: B = None,
    out: Out = None,
    batch_size: Annotated[int, typer.Option(metavar="INT", help="Texts per batch.")] = 256,
    levels: Annotated[bool, typer.Option("--levels", help="Also compute P@k of each level of a cascade.")] = False,
    export: Export = None,
    by_source: Annotated[bool, typer.Option("--by-source", help="Also print a table by source.")] = False,
    tail_curve: TailCurve = False,
    chunk_words: chunks.ChunkWords = None,
    chunk_tokens: chunks.ChunkTokens = None,
    chunk_overlap: chunks.ChunkOverlap = None,
    chunk_pooling: chunks.ChunkPooling = None,
    max_chunks: chunks.MaxChunks = None,
    trust: Trust = None,
    device: Device = None,
    *,
    opened: dict[str, Any],
) -> None:
    """Evaluate a run or stored predictions on labeled texts; prints a table and writes metrics.json."""
    from megalabel.cli.metrics_table import about, report
    from megalabel.inference.evaluate import DEPTHS
    from megalabel.inference.evaluate import evaluate as measure
    from megalabel.inference.stored import evaluate_predictions, is_predictions
    from megalabel.models.base import load
    from megalabel.models.chunked import described
    from megalabel.models.find import note_unfinished

    depths = None if k is None else _depths(k)
    file = None if out is None else _file(out)
    stored = is_predictions(run)
    if stored and data is None:
        raise _no_data(run)
    with trusting(trust):
        model = None if stored else load(run, device=device, trust=trust or ())
        cut = chunk_words, chunk_tokens, chunk_overlap, chunk_pooling, max_chunks
        model = chunks.in_chunks(model, *cut, say=_say)
        _check_inside(model, levels, export, tail_curve)
        known = () if model is None else model.label_texts
        corpus, split = open_data_to_measure(run, data, opened, known)
        _check_sources(by_source, corpus, split)
        if model is None:
            found = evaluate_predictions(run, corpus, split, k=depths, a=a, b=b, say=_say)
        else:
            note_unfinished(run, _say)
            shown = {"batch_size": batch_size, "progress": True, "say": _say}
            found = measure(model, corpus, split=split, k=depths or DEPTHS, a=a, b=b, **shown)  # type: ignore[arg-type]
    typer.echo(report([(str(run), found)]))
    if sys.stdout is not None:
        sys.stdout.flush()
    _write(file, run, model, found, {**about(corpus, split, run, data), **described(model)})
    if by_source:
        typer.echo("\n" + _by_source(model, run, corpus, split, k=depths, a=a, b=b))
    if tail_curve:
        typer.echo("\n" + _tail_curve(model, corpus, split=split, k=depths or DEPTHS, batch_size=batch_size))
    if levels or export is not None:
        _look_inside(model, corpus, levels, export, depths or DEPTHS, batch_size)


def _no_data(run: Path) -> SettingError:
    return SettingError(
        f"{run} holds predictions, and no data set is named",
        wanted="the data set with the true labels after it",
        next_step=f"write megalabel evaluate {run} DATA",
    )


def _check_inside(model: Any, levels: bool, export: Path | None, tail_curve: bool) -> None:
    """SettingError, before the work, where what is asked for beyond the metrics cannot be done."""
    from megalabel.inference.levels import levels_of
    from megalabel.labels.tree import new_folder

    if model is None and (levels or export is not None or tail_curve):
        wanted = "a run for --levels, --export and --tail-curve"
        raise SettingError("stored predictions", wanted=wanted, where="run")
    if levels:
        levels_of(model)
    if export is not None:
        new_folder(export)


def _check_sources(by_source: bool, corpus: Any, split: Any) -> None:
    """DataError, before the work, where a table by source is asked for and there are no sources."""
    if by_source:
        from megalabel.inference.by_source import check_sources

        check_sources(split, corpus.name)


def _by_source(model: Any, path: Path, corpus: Any, split: Any, k: Sequence[int] | None, **options: Any) -> str:
    """The metrics of each source of a model, or of the predictions at a path, as a table."""
    from megalabel.inference.by_source import by_source_table, evaluate_by_source, predictions_by_source
    from megalabel.inference.evaluate import DEPTHS

    options["say"] = lambda line: None
    if model is None:
        return by_source_table(predictions_by_source(path, corpus, split, k=k, **options))
    return by_source_table(evaluate_by_source(model, corpus, split=split, k=k or DEPTHS, **options))


def _tail_curve(model: Any, corpus: Any, **options: Any) -> str:
    """P@k and PSP@k along the tail knob, as a table."""
    from megalabel.inference.tail import tail_curve, tail_table

    return tail_table(tail_curve(model, corpus, progress=f"ranking {corpus.name}", **options))


def _look_inside(
    model: Any, corpus: Any, levels: bool, export: Path | None, depths: Sequence[int], batch_size: int
) -> None:
    """Prints the levels of a cascade, and exports what the model makes of both sides."""
    if levels:
        from megalabel.inference.levels import evaluate_levels, levels_table

        shown: dict[str, Any] = {"batch_size": batch_size, "progress": "measuring levels"}
        typer.echo("\n" + levels_table(evaluate_levels(model, corpus, k=depths, **shown)))
    if export is not None:
        from megalabel.inference.export import export as write

        typer.echo("\n".join(["", *write(model, corpus, export, batch_size=batch_size, progress=True)]))


def _file(out: str) -> Path:
    """The path of the file to write; SettingError for a folder."""
    from megalabel.storage.paths import as_path

    file = as_path(out, "out")
    if file.is_dir():
        raise SettingError(
            f"{file} is a folder", wanted="the name of a file", next_step="add a file name to it", where="out"
        )
    return file


def _write(file: Path | None, run: Path, model: Any, found: dict[str, float], facts: dict[str, Any]) -> None:
    """Writes the metrics into the file that was named or, for a model, into its run folder."""
    from megalabel.cli.metrics_table import write_metrics

    if file is not None:
        write_metrics(file, found, facts)
    elif model is not None:
        _keep(run, found, facts)


def _keep(run: Path, found: dict[str, float], facts: dict[str, Any]) -> None:
    """Writes the metrics into the run folder if that can be: they have been printed by now."""
    from megalabel.cli.metrics_table import write_metrics

    inside = (run / "manifest.json").exists() and (run.parent / "recipe.json").exists()
    file = (run.parent if inside else run) / "metrics.json"
    before = _about(file)
    if before.get("path", facts["path"]) != facts["path"]:
        _say(f"{file}: replaces the metrics on {before['path']} of {before.get('date')}")
    if before and before.get("chunks") != facts.get("chunks"):
        _say(f"{file}: replaces the metrics of {before.get('chunks', 'whole texts')}")
    try:
        write_metrics(file, found, facts)
    except OSError as error:
        _say(f"{file} cannot be written ({error.strerror or error}); give -o FILE to keep the metrics elsewhere")


def _about(file: Path) -> dict[str, Any]:
    """What the metrics in a file are about; nothing for a file of 0.1.0, a damaged one or none."""
    from megalabel.storage.files import read_json

    with contextlib.suppress(FormatError, OSError):
        about = read_json(file, next_step=None).get("about")
        return about if isinstance(about, dict) else {}
    return {}


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _depths(k: str) -> tuple[int, ...]:
    try:
        depths = tuple(sorted({int(part) for part in k.split(",")}))
    except ValueError:
        depths = ()
    if not depths or depths[0] < 1:
        wanted = "one or more whole numbers of at least 1, separated by commas"
        raise SettingError(f"{k!r} is not {wanted}", wanted=wanted, where="k")
    return depths
