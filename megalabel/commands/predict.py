"""`megalabel predict`: a file or a pipe of texts to JSON lines or npz."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

from megalabel.commands.device import pick
from megalabel.files import write_bytes_atomically
from megalabel.inference.predict import format_of, read_texts, write_jsonl, write_npz
from megalabel.model import Model


def predict_file(run: Path, texts: str, out: str | None, k: int, device: str | None) -> None:
    """Reads, predicts, writes; standard output where `out` is None or "-"."""
    kind = format_of(out)
    model = Model.load(run, device=pick(device))
    stream = read_texts(texts, sys.stdin.buffer)
    if out is None or out == "-":
        write_jsonl(model, stream, k, sys.stdout)
    elif kind == "npz":
        write_npz(model, stream, k, out)
    else:
        with write_bytes_atomically(out) as raw:
            packed = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) if out.endswith(".gz") else None
            file = io.TextIOWrapper(packed or raw, encoding="utf-8", newline="\n")
            write_jsonl(model, stream, k, file)
            file.detach()  # flushes; `raw` stays open for its owner
            if packed:
                packed.close()
