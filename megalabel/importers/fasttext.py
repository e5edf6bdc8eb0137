"""Reads supervised models of fastText, `model.bin` as version 0.9 writes them (format 12, or 11)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from megalabel.data.texts import Texts
from megalabel.importers.labels import check_count
from megalabel.inputs.fasttext_words import LABEL, FastTextWords, NgramOptions
from megalabel.models.fasttext import FastTextClassifier
from megalabel.storage.reading import open_regular

MAGIC = struct.pack("<i", 793712314)
_VERSIONS, _SUPERVISED = (11, 12), 3
_LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
_LONGEST = 1 << 16  # bytes of a word
_ARGUMENTS = ("dim", "ws", "epoch", "minCount", "neg", "wordNgrams", "loss", "model", "bucket", "minn", "maxn",
              "lrUpdateRate")  # fmt: skip


def read_fasttext(path: Path, names: Texts | None = None) -> FastTextClassifier:
    """The model of a file; its scores are the probabilities of fastText, which adds 0.00001 to what it prints.

    Args:
        path: the file.
        names: the L label names in the order of the file; by default its labels without `__label__`.

    Raises:
        ValueError, struct.error, OSError, SettingError: the file is damaged, quantized, or not of a classifier.
    """
    with open_regular(path) as file:
        head, version = file.read(4), _numbers(file, "<i")[0]
        if head != MAGIC or version not in _VERSIONS:
            raise ValueError(f"a head {head!r} and a version {version}")
        given = dict(zip(_ARGUMENTS, _numbers(file, "<12i"), strict=True))
        _numbers(file, "<d")
        if given["model"] != _SUPERVISED:
            raise ValueError("vectors of words without a classifier")
        words, labels, counts = _dictionary(file)
        inputs, outputs = _matrix(path, file), _matrix(path, file)
    n_chars = 0 if version == 11 else given["maxn"]
    buckets = len(inputs) - len(words)
    if buckets not in (0, given["bucket"]):
        raise ValueError(f"{len(inputs)} vectors of {len(words)} words and {given['bucket']} buckets")
    options = NgramOptions(given["wordNgrams"], given["minn"], n_chars, buckets)
    own = (label.removeprefix(LABEL).decode("utf-8", "replace") for label in labels)
    names = Texts.from_strings(own) if names is None else names
    check_count(names, len(labels))
    return FastTextClassifier(
        FastTextWords(words, options), inputs, outputs, _LOSSES[given["loss"]], counts, names
    )


def _dictionary(file: BinaryIO) -> tuple[list[bytes], list[bytes], np.ndarray]:
    """Words, labels, and the counts of labels."""
    size, n_words, n_labels, _, pruned = _numbers(file, "<3i2q")
    if pruned > 0 or n_words < 0 or n_labels < 1 or n_words + n_labels != size:
        raise ValueError(f"a dictionary of {n_words} words and {n_labels} labels" + ", pruned" * (pruned > 0))
    entries, counts = [], []
    for i in range(size):
        entries.append(_string(file))
        count, kind = _numbers(file, "<qb")
        if kind != (i >= n_words):
            raise ValueError(f"the entry {entries[-1]!r:.40} of the kind {kind}")
        counts.append(count)
    return entries[:n_words], entries[n_words:], np.array(counts[n_words:], np.int64)


def _string(file: BinaryIO) -> bytes:
    found = bytearray()
    while (byte := file.read(1)) != b"\0":
        found += byte
        if not byte or len(found) > _LONGEST:
            raise ValueError("a word without an end")
    return bytes(found)


def _matrix(path: Path, file: BinaryIO) -> np.ndarray:
    """A matrix of float32, which stays in the file."""
    quantized, rows, columns = _numbers(file, "<?2q")
    if quantized:
        raise ValueError("quantized vectors; the .bin file before `quantize` has those that can be read")
    start, left = file.tell(), path.stat().st_size - file.tell()
    if rows < 0 or columns < 1 or 4 * rows * columns > left:
        raise ValueError(f"a matrix ({rows}, {columns}) in {left} bytes")
    file.seek(4 * rows * columns, 1)
    return np.memmap(path, "<f4", "c", start, (rows, columns)) if rows else np.empty((0, columns), np.float32)


def _numbers(file: BinaryIO, layout: str) -> Any:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
