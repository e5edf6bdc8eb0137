"""Builds an index, measures it and, for the kind `auto`, chooses the fastest that keeps the recall asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.index.base import DEPTH, LabelIndex, LabelTable
from megalabel.index.hnsw import HnswIndex
from megalabel.index.measure import Measured, exact_topk, measure, narrowest, texts_needed
from megalabel.index.scan import ScanIndex
from megalabel.index.tree import TreeIndex

KINDS = ("auto", "exact", "int8", "tree", "hnsw")
CLASSES: dict[str, type[LabelIndex]] = {"int8": ScanIndex, "tree": TreeIndex, "hnsw": HnswIndex}
RECALL = 0.99

Say = Callable[[str], Any]


class Built:
    """An index, or None for scores of all labels, and what was measured of each kind that was tried."""

    def __init__(self, index: LabelIndex | None, rows: list[Measured]) -> None:
        self.index, self.rows = index, rows

    @property
    def kind(self) -> str:
        """The kind that was built or chosen."""
        return "exact" if self.index is None else self.index.kind


def check_request(kind: str, recall: float, k: int, n_labels: int) -> None:
    """SettingError for an unknown kind, a recall that is not between 0 and 1, or a k that is out of range."""
    if kind not in KINDS:
        raise SettingError.choice("kind", kind, KINDS)
    if not isinstance(recall, int | float) or not 0 < recall < 1:
        raise SettingError.range("recall", recall, 0, 1, above=True, below=True)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= n_labels:
        raise SettingError.range("k", k, 1, n_labels, integer=True)


def build_index(
    kind: str,
    table: LabelTable,
    x: Tensor,
    *,
    recall: float = RECALL,
    k: int = DEPTH,
    seed: int = 0,
    say: Say = lambda line: None,
) -> Built:
    """Builds the kind of index that is named, or the fastest that keeps the recall.

    The width of `tree` and `hnsw` is chosen on one half of the texts, and recall is measured on the other.
    `auto` compares `exact`, `int8` and `tree`; `hnsw`, which takes long to build, is only built where it is named.

    Args:
        kind: one of `KINDS`.
        table: the weights of the head.
        x: vectors (n, D) of texts such as will be classified; 2 or more.
        recall: the fraction of the k best labels to keep, above 0 and below 1.
        k: labels per text up to which the index is used.
        seed: of the clusters of `tree`.
        say: receives warnings.

    Raises:
        SettingError: an argument is out of range, or there are too few texts.
        MissingExtra: `hnsw` without faiss.
    """
    check_request(kind, recall, k, table.weight.shape[0])
    if len(x) < 2:
        raise SettingError(f"{len(x)} texts", wanted="2 or more to measure recall on", where="texts")
    x = x.float()
    tuned, held = x[0::2], x[1::2]
    if len(tuned) < texts_needed(recall) and kind in ("auto", "tree", "hnsw"):
        say(
            f"{len(x):,} texts are too few to show a recall of {recall:g}: "
            f"give {2 * texts_needed(recall):,} or more, or ask for less"
        )
    exact = exact_topk(table, x, k)
    of_tuned, of_held = (type(exact)(exact.ids[i::2], exact.scores[i::2]) for i in (0, 1))
    rows = [measure("exact", table.exact, held, k, of_held)]
    best: LabelIndex | None = None
    names = {"auto": ("int8", "tree"), "exact": ()}.get(kind, (kind,))
    for name in names:
        begun = time.perf_counter()
        index = _make(name, table, k, seed)
        seconds = time.perf_counter() - begun
        index = narrowest(index, table, tuned, k, of_tuned, recall)
        found = measure(name, lambda part, k, index=index: index.topk(table, part, k), held, k, of_held)  # type: ignore[misc]
        size, width = _megabytes(index), int(getattr(index, "width", 0))
        rows.append(found._replace(seconds=seconds, megabytes=size, width=width))
        if kind != "auto" or (found.low >= recall and found.texts_per_second > _fastest(rows[:-1], recall)):
            best = index
        if kind == name and found.low < recall and name != "int8":
            say(f"the index keeps a recall of {found.recall:.4f} ({found.low:.4f} to {found.high:.4f}), "
                f"not surely {recall:g}")  # fmt: skip
    if best is not None:
        best.report = [row._asdict() for row in rows]
    return Built(best, rows)


def _fastest(rows: list[Measured], recall: float) -> float:
    """Texts per second of the fastest of the kinds that keep the recall, among them scoring all labels."""
    return max(row.texts_per_second for row in rows if row.kind == "exact" or row.low >= recall)


def _make(kind: str, table: LabelTable, k: int, seed: int) -> LabelIndex:
    with torch.no_grad():
        if kind == "int8":
            return ScanIndex.build(table, k)
        return TreeIndex.build(table, k, seed) if kind == "tree" else HnswIndex.build(table, k)


def _megabytes(index: LabelIndex) -> float:
    """The size of the arrays of an index."""
    search = getattr(index, "search", None)
    if search is None:
        n, dim = index.shape
        return float(n * (4 * (dim + 2) + 8 * 32)) / 1e6
    return float(sum(array.nbytes for level in search.levels for array in level)) / 1e6
