"""A stream of texts, or bags of words, to the best labels of each, written as JSON lines or as one npz file."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.formats.xmlrepo import read_features
from megalabel.errors import DataError, SettingError
from megalabel.models.base import Ranker
from megalabel.storage.files import write_bytes_atomically

BLOCK = 8192  # texts in memory at a time


def read_texts(path: str | Path, stream: IO[bytes] | None = None) -> Iterator[str]:
    """Texts one a line (split at \\n only), or the `text` of JSON lines; "-" reads `stream`; .gz is unpacked."""
    name = str(path)
    if name == "-":
        assert stream is not None
        yield from _lines(stream, "standard input", is_json=False)
        return
    _check_file(path)
    plain = name.removesuffix(".gz")
    with gzip.open(path) if name.endswith(".gz") else open(path, "rb") as file:
        yield from _lines(file, name, is_json=plain.endswith((".jsonl", ".json")))  # type: ignore[arg-type]


def read_given(model: Ranker, path: str | Path, stream: IO[bytes] | None = None) -> Iterator[str] | sp.csr_matrix:
    """What the model reads: texts, as `read_texts` has them, or the rows of a bag-of-words file, whole.

    Raises:
        DataError: no such file, one that is damaged, or for a model of bags of words anything but such a file.
    """
    if model.n_features is None:
        return read_texts(path, stream)
    if str(path) == "-":
        raise DataError(
            "standard input",
            wanted="a bag-of-words file, as the model was trained on",
            next_step="give the name of a file with the header `N V L`",
        )
    _check_file(path)
    return read_features(Path(path))


def write_jsonl(model: Ranker, texts: Iterable[str] | sp.csr_matrix, k: int, file: IO[str]) -> int:
    """One line a text: {"labels": [{"id": …, "label": …, "score": …}, …]}, best first; returns how many."""
    n = 0
    for block in _blocks(texts):
        labels, scores = model.topk(block, k).numpy()
        for ids, row in zip(labels.tolist(), scores.tolist(), strict=True):
            found = [
                {"id": i, "label": model.label_texts[i], "score": float(f"{s:.6g}")}
                for i, s in zip(ids, row, strict=True)
                if i >= 0
            ]
            file.write(json.dumps({"labels": found}, ensure_ascii=False) + "\n")
        n += len(labels)
    return n


def write_npz(model: Ranker, texts: Iterable[str] | sp.csr_matrix, k: int, path: str | Path) -> int:
    """`labels` (N, k) int64, -1 where there are too few, and `scores` (N, k) float32; returns N."""
    found = [model.topk(block, k).numpy() for block in _blocks(texts)]
    if not found:
        raise DataError("no texts", wanted="at least one line", next_step="look into the input", where=path)
    labels, scores = (np.concatenate(part) for part in zip(*found, strict=True))
    with write_bytes_atomically(path) as file:
        np.savez(file, labels=labels, scores=scores)
    return len(labels)


def _check_file(path: str | Path) -> None:
    if not Path(path).is_file():
        found = "a folder" if Path(path).is_dir() else "no such file"
        raise DataError(found, wanted="a file of texts", next_step="correct the path", where=path)


def _blocks(texts: Any) -> Iterator[Any]:
    """Lists of texts, or rows of a matrix."""
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
    for number, raw in enumerate(_whole(file, name), 1):
        try:
            line = raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"bytes that are not UTF-8 ({error.reason})",
                wanted="UTF-8",
                next_step="convert the file, e.g. with iconv",
                where=f"{name}, line {number}",
            ) from error
        yield _text(line, f"{name}, line {number}") if is_json else line


def _whole(file: IO[bytes], name: str) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"the file ends early or is damaged ({error})",
            wanted="a whole gzip file",
            next_step="copy or download it again",
            where=name,
        ) from error


def _text(line: str, where: str) -> str:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"no JSON ({error.msg})", wanted='{"text": …}', next_step="correct the line", where=where
        ) from error
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise DataError(
            f"no text in {line[:60]!r}", wanted='{"text": …}', next_step="correct the line", where=where
        )
    return text


def format_of(path: str | Path | None) -> str:
    """ "jsonl" or "npz", by the ending of the output's name; standard output takes JSON lines."""
    name = str(path or "-")
    if name == "-" or name.endswith((".jsonl", ".jsonl.gz")):
        return "jsonl"
    if name.endswith(".npz"):
        return "npz"
    raise SettingError(f"output {name!r}", wanted="a name in .jsonl, .jsonl.gz or .npz", next_step="rename it")
