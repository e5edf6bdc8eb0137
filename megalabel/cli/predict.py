"""`megalabel predict`: a file or a pipe of texts, or a bag-of-words file, to JSON lines or npz."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from typing import BinaryIO

from megalabel.inference.predict import format_of, read_inputs, write_jsonl, write_npz
from megalabel.models.base import load
from megalabel.storage.files import write_bytes_atomically


def predict_file(run: Path, texts: str, out: str | None, k: int, device: str | None) -> None:
    """Reads, predicts, writes; standard output where `out` is None or "-"."""
    kind = format_of(out)
    model = load(run, device=device)
    stream = read_inputs(model, texts, sys.stdin.buffer)
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
