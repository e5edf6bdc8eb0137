"""`megalabel predict`: a file or a pipe of texts, or a bag-of-words file, to a file or a folder of parts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megalabel.cli import chunk_arguments as chunks
from megalabel.cli.arguments import Device, Encoding, Run, TextField, Trust, parts_of, trusting
from megalabel.cli.predict_request import Request
from megalabel.cli.predict_together import check_alone, in_parts
from megalabel.cli.streams import to_stderr
from megalabel.errors import DataError, SettingError

if TYPE_CHECKING:
    from megalabel.inference.predict import Wanted
    from megalabel.models.base import Classifier


Texts = Annotated[
    str,
    typer.Argument(
        metavar="[TEXTS]",
        help="Texts (lines, .jsonl, .csv, .tsv, .parquet; each .gz) or bags of words; - for standard input.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT",
        help="lines, jsonl, json, csv, tsv or parquet; default: by suffix, for a pipe by its first line.",
    ),
]
TextParts = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of titles and contents: title, content, both; by default as in training."),
]
Between = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Between title and content; by default as in training.")
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="OUT",
        help=".jsonl, .csv, .tsv, .annif (each also .gz), .parquet or .npz file; default: standard output. "
        "With --parts, a folder.",
    ),
]
Parts = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT",
        help="Write numbered parts as jsonl, jsonl.gz, npz or parquet; a job that was stopped goes on.",
    ),
]
PartSize = Annotated[int | None, typer.Option(metavar="INT", help="Texts per part; default: 65,536.")]
ShardLabels = Annotated[
    bool,
    typer.Option(
        "--shard-labels",
        help="With torchrun and a dense head: each process loads and ranks its own range of labels.",
    ),
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Convert scores to probabilities, calibrated ones if there are.")
]
Threshold = Annotated[float | None, typer.Option(metavar="FLOAT", help="Minimum score of a predicted label.")]
MinLabels = Annotated[int, typer.Option(metavar="INT", help="Labels kept per text even if below the threshold.")]
K = Annotated[
    int | None, typer.Option("--k", "-k", metavar="INT", help="Labels per text; default: 10, or the whole set.")
]
Precision = Annotated[
    float | None,
    typer.Option(metavar="FLOAT", help="Leave labels out so that this share is true, as on held-out texts."),
]
Coverage = Annotated[
    float | None, typer.Option(metavar="FLOAT", help="Write a set of labels with this expected recall, per text.")
]
Tail = Annotated[
    str,
    typer.Option(metavar="FLOAT|auto", help="From 0 to 1: favor rare labels; auto: what held-out texts chose."),
]
AncestorsWay = Annotated[
    str | None,
    typer.Option(
        "--ancestors",
        metavar="WAY",
        help="Of a taxonomy: raise (no label scores below its descendants), add (ancestors too), collapse "
        "(the most specific labels alone).",
    ),
]
Language = Annotated[
    str | None,
    typer.Option(metavar="LANG", help="Language of the names, such as fi, where labels have one there."),
]
Allow = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Names or URIs of the only labels to rank, one per line.")
]
Deny = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Names or URIs of labels to leave out, one per line.")
]


def predict(
    run: Run,
    texts: Texts = "-",
    out: Out = None,
    k: K = None,
    parts: Parts = None,
    part_size: PartSize = None,
    shard_labels: ShardLabels = False,
    probabilities: Probabilities = False,
    threshold: Threshold = None,
    min_labels: MinLabels = 0,
    precision: Precision = None,
    coverage: Coverage = None,
    tail: Tail = "0",
    ancestors: AncestorsWay = None,
    language: Language = None,
    allow: Allow = None,
    deny: Deny = None,
    format: Format = None,
    text_field: TextField = None,
    encoding: Encoding = None,
    text_parts: TextParts = None,
    text_separator: Between = None,
    chunk_words: chunks.ChunkWords = None,
    chunk_tokens: chunks.ChunkTokens = None,
    chunk_overlap: chunks.ChunkOverlap = None,
    chunk_pooling: chunks.ChunkPooling = None,
    max_chunks: chunks.MaxChunks = None,
    trust: Trust = None,
    device: Device = None,
) -> None:
    """Write the top labels of each text as JSON lines, a table or npz, with what the scores are."""
    from megalabel.data.read_options import ReadOptions
    from megalabel.inference.predict import Wanted
    from megalabel.inference.reading import TEXT, TextOptions
    from megalabel.labels.ancestors import check_ancestors

    kept = precision, coverage, _tail(tail), None if ancestors is None else check_ancestors(ancestors), language
    wanted = Wanted(k, probabilities, threshold, min_labels, *kept, _names(allow), _names(deny))
    cut = chunk_words, chunk_tokens, chunk_overlap, chunk_pooling, max_chunks
    said = ReadOptions(text_parts=text_parts, text_separator=text_separator).given()
    more: dict[str, Any] = {**parts_of(run), **said}
    options = TextOptions(format, TEXT if text_field is None else text_field, encoding, **more)
    request = Request(run, texts, wanted, cut, options, device, trust or [])
    if parts is not None or part_size is not None or shard_labels:
        in_parts(request, out, parts, part_size, shard_labels=shard_labels)
        return
    check_alone()
    kind = _format_of(out)
    if kind == "jsonl" and out in (None, "-") and sys.stdout is None:
        raise SettingError("standard output is closed", wanted="a place for the answers", next_step="give -o FILE")
    with trusting(trust):
        model = request.model(to_stderr)
        stdin = None if sys.stdin is None else sys.stdin.buffer
        if texts == "-" and stdin is not None and stdin.isatty():
            to_stderr("reading texts from the terminal, one per line; the end is Ctrl-D")
        rows = request.as_trained(to_stderr).rows(model, stdin, to_stderr)
        if _write(model, rows, wanted, out) == 0:
            to_stderr(f"{'standard input' if texts == '-' else texts} holds no texts")


def _tail(given: str) -> float | Literal["auto"]:
    """The value of --tail; SettingError for another word than auto."""
    if given == "auto":
        return "auto"
    try:
        return float(given)
    except ValueError:
        raise SettingError(
            f"tail = {given!r:.80}", wanted="a number from 0 to 1, or auto", where="--tail"
        ) from None


def _write(model: Classifier, rows: Any, wanted: Wanted, out: str | None) -> int:
    """Writes the answers to standard output or a file; returns the number of texts."""
    from megalabel.inference.predict import write_file, write_jsonl
    from megalabel.models.prediction_files import text_stream

    if out is not None and out != "-":
        return write_file(model, rows, wanted, out, "predicting")
    file = text_stream(sys.stdout.buffer)
    try:  # without a bar beside answers on the screen
        return write_jsonl(model, rows, wanted, file, "" if sys.stdout.isatty() else "predicting")
    finally:
        file.detach()  # flushes; standard output stays open


def _format_of(out: str | None) -> str:
    """The format of a file of answers; SettingError for a name without a suffix, such as that of a folder."""
    from megalabel.models.prediction_files import format_of

    try:
        return format_of(out)
    except SettingError as error:
        wanted = f"{error.wanted}, or --parts FORMAT for a folder of parts"
        raise SettingError(error.found, wanted=wanted, where="out") from error


def _names(file: Path | None) -> list[str] | None:
    """The names of labels in a file, one per line; None for no file."""
    from megalabel.storage.reading import reading

    if file is None:
        return None
    if not file.exists():
        raise DataError("no such file", wanted="a file of labels", next_step="correct the path", where=file)
    with reading(
        file,
        wanted="a text file in UTF-8 with the name of a label per line",
        next_step="convert the file to UTF-8, or correct the path",
        what="the file cannot be read",
    ):
        found = [line for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    if not found:
        to_stderr(f"{file} holds no labels")
    return found
