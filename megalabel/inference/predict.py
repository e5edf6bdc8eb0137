"""Predicts the best labels of a stream of texts or bags of words, and writes them as JSON lines or as npz."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.formats.features import read_features
from megalabel.errors import DataError, SettingError
from megalabel.models.base import Classifier
from megalabel.storage.files import write_bytes_atomically

BLOCK = 8192  # texts that are in memory at once


def stream_texts(path: str | Path, stream: IO[bytes] | None = None) -> Iterator[str]:
    """Yields the texts of a file.

    Args:
        path: a file with one text per line (split at newlines only), or JSON lines with the key `text`, each
            plain or .gz; "-" reads `stream`.
        stream: the standard input.

    Raises:
        DataError: the file does not exist, is damaged or is not UTF-8, or a line has no text.
    """
    name = str(path)
    if name == "-":
        assert stream is not None
        yield from _lines(stream, "standard input", is_json=False)
        return
    _check_file(path)
    plain = name.removesuffix(".gz")
    with gzip.open(path) if name.endswith(".gz") else open(path, "rb") as file:
        yield from _lines(file, name, is_json=plain.endswith((".jsonl", ".json")))  # type: ignore[arg-type]


def read_inputs(
    model: Classifier, path: str | Path, stream: IO[bytes] | None = None
) -> Iterator[str] | sp.csr_matrix:
    """Reads the inputs of a model: texts as `stream_texts` does, or all rows of a bag-of-words file.

    Raises:
        DataError: as `stream_texts`; or the model reads bags of words and the file holds none.
    """
    if model.n_features is None:
        return stream_texts(path, stream)
    if str(path) == "-":
        raise DataError(
            "standard input",
            wanted="a bag-of-words file, since the model was trained on bags of words",
            next_step="give a file with the header `N V L`",
        )
    _check_file(path)
    return read_features(Path(path))


def write_jsonl(model: Classifier, texts: Iterable[str] | sp.csr_matrix, k: int, file: IO[str]) -> int:
    """Writes one line per text: {"labels": [{"id": …, "label": …, "score": …}, …]}, best first.

    Returns:
        The number of texts.
    """
    n = 0
    for block in _blocks(texts):
        labels, scores = model.topk(block, k).numpy()
        for ids, row in zip(labels.tolist(), scores.tolist(), strict=True):
            predictions = [
                {"id": i, "label": model.label_texts[i], "score": float(f"{s:.6g}")}
                for i, s in zip(ids, row, strict=True)
                if i >= 0
            ]
            file.write(json.dumps({"labels": predictions}, ensure_ascii=False) + "\n")
        n += len(labels)
    return n


def write_npz(model: Classifier, texts: Iterable[str] | sp.csr_matrix, k: int, path: str | Path) -> int:
    """Writes `labels` (N, k) int64, padded with -1, and `scores` (N, k) float32; returns N."""
    blocks = [model.topk(block, k).numpy() for block in _blocks(texts)]
    if not blocks:
        raise DataError("no texts", wanted="at least one line", where=path)
    labels, scores = (np.concatenate(part) for part in zip(*blocks, strict=True))
    with write_bytes_atomically(path) as file:
        np.savez(file, labels=labels, scores=scores)
    return len(labels)


def _check_file(path: str | Path) -> None:
    if not Path(path).is_file():
        found = "a folder" if Path(path).is_dir() else "no such file"
        raise DataError(found, wanted="a file of texts", where=path)


def _blocks(texts: Any) -> Iterator[Any]:
    """Yields lists of texts, or blocks of rows of a matrix."""
    if sp.issparse(texts):
        for start in range(0, texts.shape[0], BLOCK):
            yield texts[start : start + BLOCK]
        return
    block: list[str] = []
    for text in texts:
        block.append(text)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _lines(file: IO[bytes], name: str, is_json: bool) -> Iterator[str]:
    for number, raw in enumerate(_read_raw(file, name), 1):
        try:
            line = raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"bytes that are not UTF-8 ({error.reason})",
                wanted="UTF-8",
                next_step="convert the file, for example with iconv",
                where=f"{name}, line {number}",
            ) from error
        yield _text(line, f"{name}, line {number}") if is_json else line


def _read_raw(file: IO[bytes], name: str) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"the file ends early or is damaged ({error})",
            wanted="a complete gzip file",
            next_step="copy or download it again",
            where=name,
        ) from error


def _text(line: str, where: str) -> str:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON ({error.msg})", wanted='{"text": …}', where=where) from error
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise DataError(f"no text in {line[:60]!r}", wanted='{"text": …}', where=where)
    return text


def format_of(path: str | Path | None) -> str:
    """The format of the output by its suffix: "jsonl" (also for the standard output) or "npz"."""
    name = str(path or "-")
    if name == "-" or name.endswith((".jsonl", ".jsonl.gz")):
        return "jsonl"
    if name.endswith(".npz"):
        return "npz"
    raise SettingError(f"output {name!r}", wanted="a name that ends in .jsonl, .jsonl.gz or .npz")
