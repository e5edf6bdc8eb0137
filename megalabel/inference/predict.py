"""Predicts the best labels of a stream of texts or bags of words, and writes them as JSON lines or as npz."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.formats.features import read_features
from megalabel.errors import DataError, SettingError
from megalabel.inference.guess import BAGS, PLAIN
from megalabel.inference.reading import read_rows
from megalabel.inference.record import Row, Say, TextOptions
from megalabel.models.base import Classifier
from megalabel.models.chunked import described
from megalabel.models.scores import probabilities, score_kind
from megalabel.progress import Progress
from megalabel.storage.files import write_bytes_atomically

BLOCK = 8192  # texts that are in memory at once
DEFAULTS = TextOptions()
CELLS = 1 << 26  # labels of the texts of a block together, at most


class Wanted(NamedTuple):
    """What of a ranking is written.

    k: labels per text; all where a model has fewer.
    probabilities: whether scores are turned into probabilities.
    threshold: the least score of a label; None for no limit. It counts on what is written: probabilities if asked.
    min_labels: the best labels that are written whatever their scores.
    """

    k: int = 10
    probabilities: bool = False
    threshold: float | None = None
    min_labels: int = 0

    def check(self, model: Classifier) -> None:
        """SettingError for values that do not fit each other or the model."""
        model.reach(self.k)
        if self.probabilities:
            probabilities(model, np.zeros(1, np.float32))
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise SettingError.range("threshold", self.threshold)
        kind = "probability" if self.probabilities else score_kind(model)
        if self.threshold is not None and self.threshold > 1 and kind in ("probability", "mixture"):
            raise SettingError(
                f"{self.threshold:g} is above all scores of this model, which are from 0 to 1",
                wanted="a number from 0 to 1",
                where="threshold",
            )
        if not 0 <= self.min_labels <= self.k:
            raise SettingError.range("min_labels", self.min_labels, 0, self.k, integer=True)
        if self.min_labels and self.threshold is None:
            raise SettingError(
                f"min_labels = {self.min_labels} without a threshold",
                wanted="a threshold too, since without one all k labels are written",
                where="min_labels",
            )


def stream_texts(
    path: str | Path, stream: IO[bytes] | None = None, options: TextOptions = DEFAULTS
) -> Iterator[str]:
    """Yields the texts of a file or, for "-", of `stream`; errors as `read_rows`."""
    return (row.text for row in read_rows(path, stream, options, lambda line: None))


def read_inputs(
    model: Classifier,
    path: str | Path,
    stream: IO[bytes] | None = None,
    options: TextOptions = DEFAULTS,
    say: Say = lambda line: None,
) -> Iterator[Row] | sp.csr_matrix:
    """Reads the inputs of a model: rows of texts as `read_rows` does, or all rows of a bag-of-words file.

    Raises:
        DataError: as `read_rows`; or the model reads bags of words and the file holds none.
    """
    if model.n_features is None:
        known = model.trained_on
        if not options.data_name and known is not None:
            options = options._replace(data_name=known.name)
        return read_rows(path, stream, options, say)
    file, wanted = Path(path), "a bag-of-words file, since the model was trained on bags of words"
    if str(path) == "-":
        raise DataError("standard input", wanted=wanted, next_step="give a file with the header `N V L`")
    if file.is_dir() or not file.exists():
        raise DataError("a folder" if file.is_dir() else "no such file", wanted=wanted, where=path)
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix not in (*PLAIN, *BAGS):
        raise DataError(
            f"a file of texts ({suffix})",
            wanted=wanted,
            next_step="give a file with the header `N V L`, or train a model on texts",
            where=path,
        )
    return read_features(file)


def write_jsonl(
    model: Classifier,
    texts: Iterable[Row | str] | sp.csr_matrix,
    wanted: Wanted | int,
    file: IO[str],
    progress: str = "",
) -> int:
    """Writes one line per text, best label first, after the fields that its record has beside the text:

        {"id": 7, "score_type": "probability", "labels": [{"id": …, "label": …, "score": …}, …]}

    Returns:
        The number of texts.
    """
    n = 0
    for fields, ids, scores, kind in _answers(model, texts, wanted, progress):
        for more, labels, row in zip(fields, ids.tolist(), scores.tolist(), strict=True):
            predictions = [
                {"id": i, "label": model.label_texts[i], "score": float(f"{s:.6g}")}
                for i, s in zip(labels, row, strict=True)
                if i >= 0
            ]
            line = {**more, "score_type": kind, "labels": predictions}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        n += len(ids)
    return n


def write_npz(
    model: Classifier,
    texts: Iterable[Row | str] | sp.csr_matrix,
    wanted: Wanted | int,
    path: str | Path,
    progress: str = "",
) -> int:
    """Writes `labels` (N, k) int64, padded with -1, `scores` (N, k) float32 and `score_type`; returns N.

    k is at most the number of labels. A model that cuts texts adds how, as `chunks` and `chunk_pooling`.
    """
    blocks = [(ids, scores, kind) for _, ids, scores, kind in _answers(model, texts, wanted, progress)]
    if not blocks:
        raise DataError("no texts", wanted="at least one text", where=path)
    labels, scores = (np.concatenate(part) for part in list(zip(*blocks, strict=True))[:2])
    arrays = {"labels": labels, "scores": scores, "score_type": np.array(blocks[0][2])}
    arrays |= {name: np.array(fact) for name, fact in described(model).items()}
    with write_bytes_atomically(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes the arrays for a flag
    return len(labels)


def _answers(
    model: Classifier, texts: Iterable[Row | str] | sp.csr_matrix, wanted: Wanted | int, progress: str
) -> Iterator[tuple[list[dict[str, Any]], np.ndarray, np.ndarray, str]]:
    """Yields per block: the fields beside the texts, ids (n, k) int64, scores (n, k) float32, and their kind."""
    wanted = Wanted(wanted) if isinstance(wanted, int) else wanted
    wanted.check(model)
    k = model.reach(wanted.k)
    kind = "probability" if wanted.probabilities else score_kind(model)
    total: int | None = getattr(texts, "shape", (None,))[0]
    with Progress(progress, total) as shown:
        for fields, block in _blocks(texts, max(1, min(BLOCK, CELLS // k))):
            ids, scores = model.topk(block, k, given=_given(fields)).numpy()
            if wanted.probabilities:
                scores = probabilities(model, scores)
            if wanted.threshold is not None:
                out = (scores < wanted.threshold) & (np.arange(k) >= wanted.min_labels)
                ids, scores = np.where(out, -1, ids), np.where(out, np.float32(-np.inf), scores)
            shown.advance(len(ids))
            yield fields, ids, np.where(ids < 0, np.float32(-np.inf), scores), kind


def _given(fields: list[dict[str, Any]]) -> list[list[Any]] | None:
    """The labels that records give in the field "given"; None where none gives a list of labels."""
    given = [own if isinstance(own := row.get("given"), list) else [] for row in fields]
    return given if any(given) else None


def _blocks(texts: Any, size: int) -> Iterator[tuple[list[dict[str, Any]], Any]]:
    """Yields lists of texts with the fields beside them, or blocks of rows of a matrix."""
    if sp.issparse(texts):
        for start in range(0, texts.shape[0], size):
            block = texts[start : start + size]
            yield [{}] * block.shape[0], block
        return
    rows = (row if isinstance(row, Row) else Row(row, {}) for row in texts)
    while part := list(islice(rows, size)):
        yield [row.fields for row in part], [row.text for row in part]


def format_of(path: str | Path | None) -> str:
    """The format of the output by its suffix: "jsonl" (also for the standard output) or "npz"."""
    name = "-" if path is None else str(path)
    if name == "-" or name.lower().endswith((".jsonl", ".jsonl.gz")):
        return "jsonl"
    if name.lower().endswith(".npz"):
        return "npz"
    raise SettingError(f"the name {name!r}", wanted="a name that ends in .jsonl, .jsonl.gz or .npz", where="out")
