"""`megalabel predict`: a file or a pipe of texts, or a bag-of-words file, to JSON lines or npz."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from megalabel.cli import chunk_arguments as chunks
from megalabel.cli.arguments import Device, Encoding, Run, TextField, Trust, opened_by, parts_of, trusting
from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.inference.predict import Wanted
    from megalabel.inference.record import Say, TextOptions
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
Parts = Annotated[
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
        metavar="FILE",
        help=".jsonl, .csv, .tsv, .annif (each also .gz), .parquet or .npz file; default: standard output.",
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
Tail = Annotated[float, typer.Option(metavar="FLOAT", help="From 0 to 1: favor rare labels.")]
Allow = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Names of the only labels to rank, one per line.")
]
Deny = Annotated[Path | None, typer.Option(metavar="FILE", help="Names of labels to leave out, one per line.")]


def predict(
    run: Run,
    texts: Texts = "-",
    out: Out = None,
    k: K = None,
    probabilities: Probabilities = False,
    threshold: Threshold = None,
    min_labels: MinLabels = 0,
    precision: Precision = None,
    coverage: Coverage = None,
    tail: Tail = 0.0,
    allow: Allow = None,
    deny: Deny = None,
    format: Format = None,
    text_field: TextField = None,
    encoding: Encoding = None,
    text_parts: Parts = None,
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
    from megalabel.inference.predict import Wanted, read_inputs
    from megalabel.inference.reading import TEXT, TextOptions
    from megalabel.models.base import load
    from megalabel.models.find import note_unfinished
    from megalabel.models.predictions import format_of

    kind = format_of(out)
    if kind == "jsonl" and out in (None, "-") and sys.stdout is None:
        raise SettingError("standard output is closed", wanted="a place for the answers", next_step="give -o FILE")
    with trusting(trust):
        model = load(run, device=device, trust=trust or ())
        note_unfinished(run, _say)
        cut = chunk_words, chunk_tokens, chunk_overlap, chunk_pooling, max_chunks
        model = chunks.in_chunks(model, *cut, say=_say) or model
        kept = precision, coverage, tail, _names(allow), _names(deny)
        wanted = Wanted(k, probabilities, threshold, min_labels, *kept)
        wanted.check(model)
        if k is not None and k > len(model.label_texts):
            _say(f"k = {k:,}: the model has {len(model.label_texts):,} labels, and all of them are ranked")
        stdin = None if sys.stdin is None else sys.stdin.buffer
        if texts == "-" and stdin is not None and stdin.isatty():
            _say("reading texts from the terminal, one per line; the end is Ctrl-D")
        said = ReadOptions(text_parts=text_parts, text_separator=text_separator).given()
        options = TextOptions(
            format, TEXT if text_field is None else text_field, encoding, **{**parts_of(run), **said}
        )
        options = as_trained(run, texts, options, _say)
        rows = read_inputs(model, texts, stdin, options, _say)
        if _write(model, rows, wanted, out) == 0:
            _say(f"{'standard input' if texts == '-' else texts} holds no texts")


def as_trained(run: Path, texts: str, options: TextOptions, say: Say) -> TextOptions:
    """Adds how the texts of the run were read, where the caller does not say it."""
    from megalabel.cli.arguments import format_of_run
    from megalabel.data.recorded import needs_encoding
    from megalabel.inference.layouts import holds_raw_texts

    opened = opened_by(run)
    options = options._replace(trained_field=opened.get("text_field", ""))
    if holds_raw_texts(texts):
        options = options._replace(trained_format=format_of_run(run))
    encoding = opened.get("encoding")
    if options.encoding is None and encoding is not None and needs_encoding(Path(texts), encoding):
        say(f"{texts}: read as {encoding}, as in training")
        options = options._replace(encoding=encoding)
    return options


def _write(model: Classifier, rows: Any, wanted: Wanted, out: str | None) -> int:
    """Writes the answers to standard output or a file; returns the number of texts."""
    from megalabel.inference.predict import write_file, write_jsonl

    if out is not None and out != "-":
        return write_file(model, rows, wanted, out, "predicting")
    file = _text(sys.stdout.buffer)
    try:  # without a bar beside answers on the screen
        return write_jsonl(model, rows, wanted, file, "" if sys.stdout.isatty() else "predicting")
    finally:
        file.detach()  # flushes; standard output stays open


def _names(file: Path | None) -> list[str] | None:
    """The names of labels in a file, one per line; None for no file."""
    from megalabel.storage.reading import reading

    if file is None:
        return None
    with reading(
        file, wanted="a text file in UTF-8 with the name of a label per line", next_step="correct the path"
    ):
        return [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _text(raw: BinaryIO) -> io.TextIOWrapper:
    """UTF-8 whatever the terminal's encoding; half a surrogate pair becomes JSON's escape for it."""
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n")
