"""`megalabel predict`: a file or a pipe of texts, or a bag-of-words file, to JSON lines or npz."""

from __future__ import annotations

import gzip
import io
import sys
from typing import Annotated, BinaryIO

import typer

from megalabel.cli.arguments import Device, Encoding, Run, TextField, Trust
from megalabel.errors import SettingError


def predict(
    run: Run,
    texts: Annotated[
        str,
        typer.Argument(
            metavar="[TEXTS]",
            help="Texts (lines, .jsonl, .csv, .tsv, .parquet; each .gz) or bags of words; - for a pipe.",
        ),
    ] = "-",
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help=".jsonl, .jsonl.gz or .npz; - for the screen."),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", metavar="INT", help="Labels per text.")] = 10,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write probabilities where the scores are logits or a mixture.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(metavar="FLOAT", help="Leave out labels with lower scores.")
    ] = None,
    min_labels: Annotated[
        int, typer.Option(metavar="INT", help="Best labels that are written below the threshold too.")
    ] = 0,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="lines, jsonl, json, csv, tsv or parquet; by default by the suffix, of a pipe by its first line.",
        ),
    ] = None,
    text_field: TextField = None,
    encoding: Encoding = None,
    trust: Trust = None,
    device: Device = None,
) -> None:
    """Write the top labels of each text as JSON lines or npz, with what the scores are."""
    from megalabel.inference.predict import Wanted, format_of, read_inputs, write_jsonl, write_npz
    from megalabel.inference.reading import TEXT, How
    from megalabel.models.base import load
    from megalabel.storage.files import write_bytes_atomically

    kind = format_of(out)
    to_screen = kind == "jsonl" and (out is None or out == "-")
    if to_screen and sys.stdout is None:
        raise SettingError("standard output is closed", wanted="a place for the answers", next_step="give -o FILE")
    model = load(run, device=device, trust=trust or ())
    wanted = Wanted(k, probabilities, threshold, min_labels)
    wanted.check(model)
    if k > len(model.label_texts):
        _say(f"k = {k:,}: the model has {len(model.label_texts):,} labels, and all of them are ranked")
    stdin = None if sys.stdin is None else sys.stdin.buffer
    if texts == "-" and stdin is not None and stdin.isatty():
        _say("reading texts from the terminal, one per line; the end is Ctrl-D")
    rows = read_inputs(
        model, texts, stdin, How(format, TEXT if text_field is None else text_field, encoding), _say
    )
    title = "" if to_screen and sys.stdout.isatty() else "predicting"
    if to_screen:
        file = _text(sys.stdout.buffer)
        try:
            n = write_jsonl(model, rows, wanted, file, title)
        finally:
            file.detach()  # flushes; standard output stays open
    elif kind == "npz":
        n = write_npz(model, rows, wanted, str(out), title)
    else:
        with write_bytes_atomically(str(out)) as raw:
            packed = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) if str(out).lower().endswith(".gz") else None
            file = _text(packed or raw)
            n = write_jsonl(model, rows, wanted, file, title)
            file.detach()  # flushes; `raw` stays open for its owner
            if packed:
                packed.close()
    if n == 0:
        _say(f"{'standard input' if texts == '-' else texts} holds no texts")


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _text(raw: BinaryIO | gzip.GzipFile) -> io.TextIOWrapper:
    """UTF-8 whatever the terminal's encoding; half a surrogate pair becomes JSON's escape for it."""
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n")
