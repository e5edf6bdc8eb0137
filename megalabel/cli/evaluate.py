"""`megalabel evaluate`: a table of metrics of a run or of stored predictions, and `metrics.json`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli import chunk_arguments as chunks
from megalabel.cli import evaluate_more as more
from megalabel.cli.arguments import Device, Trust, open_data_to_measure, trusting
from megalabel.cli.reading import reads
from megalabel.cli.streams import to_stderr
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
TaxonomyFile = Annotated[
    Path | None,
    typer.Option(
        "--taxonomy",
        metavar="FILE",
        help="Broader labels for hierarchical metrics: lines of parent, tab, child, or SKOS; default: those of "
        "the model or the data.",
    ),
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
    taxonomy: TaxonomyFile = None,
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
    from megalabel.inference.stored_files import is_predictions
    from megalabel.models.base import load
    from megalabel.models.chunked import described

    depths = None if k is None else _depths(k)
    file = None if out is None else _file(out)
    stored = is_predictions(run)
    if stored and data is None:
        raise _no_data(run)
    with trusting(trust):
        model = None if stored else load(run, device=device, trust=trust or ())
        cut = chunk_words, chunk_tokens, chunk_overlap, chunk_pooling, max_chunks
        model = chunks.in_chunks(model, *cut, say=to_stderr)
        more.check_inside(model, levels, export, tail_curve)
        known = () if model is None else model.label_texts
        corpus, split = open_data_to_measure(run, data, opened, known)
        more.check_sources(by_source, corpus, split)
        hierarchy = more.taxonomy_in(taxonomy, model, corpus, to_stderr)
        options = {"k": depths, "a": a, "b": b, "taxonomy": hierarchy, "say": to_stderr}
        found = _measured(run, model, corpus, split, batch_size, options)
    typer.echo(report([(str(run), found)]))
    if sys.stdout is not None:
        sys.stdout.flush()
    _write(file, run, model, found, {**about(corpus, split, run, data), **described(model)})
    if by_source:
        typer.echo("\n" + more.table_by_source(model, run, corpus, split, k=depths, a=a, b=b))
    if tail_curve:
        typer.echo(
            "\n" + more.tail_curve_table(model, corpus, split=split, k=depths or DEPTHS, batch_size=batch_size)
        )
    if levels or export is not None:
        more.look_inside(model, corpus, levels, export, depths or DEPTHS, batch_size)


def _measured(
    run: Path, model: Any, corpus: Any, split: Any, batch_size: int, options: dict[str, Any]
) -> dict[str, float]:
    """The metrics of a model or, where that is None, of stored predictions."""
    from megalabel.inference.evaluate import DEPTHS, evaluate
    from megalabel.inference.stored import evaluate_predictions
    from megalabel.models.find import note_unfinished

    if model is None:
        return evaluate_predictions(run, corpus, split, **options)
    note_unfinished(run, to_stderr)
    options = {**options, "k": options["k"] or DEPTHS}
    return evaluate(model, corpus, split=split, batch_size=batch_size, progress=True, **options)


def _no_data(run: Path) -> SettingError:
    return SettingError(
        f"{run} holds predictions, and no data set is named",
        wanted="the data set with the true labels after it",
        next_step=f"write megalabel evaluate {run} DATA",
    )


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
        to_stderr(f"{file}: replaces the metrics on {before['path']} of {before.get('date')}")
    if before and before.get("chunks") != facts.get("chunks"):
        to_stderr(f"{file}: replaces the metrics of {before.get('chunks', 'whole texts')}")
    try:
        write_metrics(file, found, facts)
    except OSError as error:
        to_stderr(
            f"{file} cannot be written ({error.strerror or error}); give -o FILE to keep the metrics elsewhere"
        )


def _about(file: Path) -> dict[str, Any]:
    """What the metrics in a file are about; nothing for a file of 0.1.0, a damaged one or none."""
    from megalabel.storage.files import read_json

    with contextlib.suppress(FormatError, OSError):
        about = read_json(file, next_step=None).get("about")
        return about if isinstance(about, dict) else {}
    return {}


def _depths(k: str) -> tuple[int, ...]:
    try:
        depths = tuple(sorted({int(part) for part in k.split(",")}))
    except ValueError:
        depths = ()
    if not depths or depths[0] < 1:
        wanted = "one or more whole numbers of at least 1, separated by commas"
        raise SettingError(f"{k!r} is not {wanted}", wanted=wanted, where="k")
    return depths
