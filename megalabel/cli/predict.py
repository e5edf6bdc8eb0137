"""`megalabel predict`: a file or a pipe of texts, or a bag-of-words file, to JSON lines or npz."""

from __future__ import annotations

import gzip
import io
import sys
from typing import Annotated, Any, BinaryIO

import typer

from megalabel.cli.arguments import Device, Run, Trust, trusting


def predict(
    run: Run,
    texts: Annotated[
        str,
        typer.Argument(metavar="[TEXTS]", help="One text per line (.gz, .jsonl), bags of words, or - for a pipe."),
    ] = "-",
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help=".jsonl, .jsonl.gz or .npz; - for the screen."),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", metavar="INT", help="Labels per text.")] = 10,
    trust: Trust = None,
    device: Device = None,
) -> None:
    """Write the top labels of each text as JSON lines or npz."""
    from megalabel.inference.predict import format_of, read_inputs
    from megalabel.models.base import load

    kind = format_of(out)
    with trusting(trust):
        model = load(run, device=device, trust=trust or ())
        _write(model, read_inputs(model, texts, sys.stdin.buffer), k, out, kind)


def _write(model: Any, stream: Any, k: int, out: str | None, kind: str) -> None:
    """Predicts and writes while the inputs come in."""
    from megalabel.inference.predict import write_jsonl, write_npz
    from megalabel.storage.files import write_bytes_atomically

    if out is None or out == "-":
        file = _text(sys.stdout.buffer)
        try:
            write_jsonl(model, stream, k, file)
        finally:
            file.detach()  # flushes; standard output stays open
    elif kind == "npz":
        write_npz(model, stream, k, out)
    else:
        with write_bytes_atomically(out) as raw:
            packed = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) if out.endswith(".gz") else None
            file = _text(packed or raw)
            write_jsonl(model, stream, k, file)
            file.detach()  # flushes; `raw` stays open for its owner
            if packed:
                packed.close()


def _text(raw: BinaryIO | gzip.GzipFile) -> io.TextIOWrapper:
    """UTF-8 whatever the terminal's encoding; half a surrogate pair becomes JSON's escape for it."""
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n")
