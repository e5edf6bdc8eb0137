"""Nested clusters as ranges: the checks of a tree, and trees from parents or from lists of children."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from megalabel.errors import DataError

Nested = tuple[tuple[np.ndarray, ...], np.ndarray]
CHECK = "check the lists that the tree is made from"


def check_offsets(offsets: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """The levels of a tree, coarse to fine, each as (n_i + 1,) int64; see `LabelTree`.

    Raises:
        DataError: no level, no integers, an empty node, a level that does not fit the next.
    """
    levels = tuple(integers(level, f"offsets[{i}]") for i, level in enumerate(items(offsets, "offsets")))
    if len(levels) == 0:
        raise DataError("a tree without levels", wanted="one level of clusters or more", next_step=CHECK)
    for i, level in enumerate(levels):
        if len(level) < 2 or level[0] != 0:
            start = f"starts with {level[0]}" if len(level) else "is empty"
            raise DataError(
                f"offsets[{i}] {start if len(level) != 1 else 'has one number'}",
                wanted="0, then the end of each node's children",
                next_step=CHECK,
            )
        empty = np.flatnonzero(level[1:] <= level[:-1])
        if len(empty):
            a, b = level[empty[0]], level[empty[0] + 1]
            raise DataError(
                f"node {empty[0]} of level {i} has the children {a} to {b}: none",
                wanted="one child or more for each node",
                next_step="leave empty clusters out",
            )
    for i, (level, below) in enumerate(pairwise(levels)):
        if level[-1] != len(below) - 1:
            raise DataError(
                f"level {i} has {level[-1]} children, level {i + 1} has {len(below) - 1} nodes",
                wanted="each node in exactly one node of the level above",
                next_step=CHECK,
            )
    return levels


def check_order(order: Any, n_places: int) -> np.ndarray:
    """The label at each place, (L,) int64; DataError unless it is a permutation of 0 to L - 1."""
    order = integers(order, "order")
    if len(order) != n_places:
        raise DataError(
            f"{len(order)} labels in the order, {n_places} places in the last level",
            wanted="one label a place",
            next_step=CHECK,
        )
    once(order, n_places, "label", "lies", "place")
    return order


def once(members: np.ndarray, n: int, what: str, lies: str, place: str) -> None:
    """DataError unless `members` are 0 to n - 1, each of them once.

    what, lies, place: how a message calls a member, being somewhere, and the place that it is at: "label",
    "lies", "place".
    """
    beyond = np.flatnonzero((members < 0) | (members >= n))
    if len(beyond):
        raise DataError(
            f"{what} {members[beyond[0]]} {lies} at {place} {beyond[0]}, and there are {n}",
            wanted=f"numbers from 0 to {n - 1}, each of them once",
            next_step=CHECK,
        )
    counts = np.bincount(members, minlength=n)
    again = np.flatnonzero(counts > 1)
    if len(again):
        first, second = np.flatnonzero(members == again[0])[:2]
        raise DataError(
            f"{what} {again[0]} {lies} at {place}s {first} and {second}",
            wanted="each of them once",
            next_step=CHECK,
        )
    if (counts == 0).any():
        raise DataError(
            f"{what} {int((counts == 0).argmax())} {lies} at no {place}",
            wanted="each of them once",
            next_step=CHECK,
        )


def from_parents(parents: Sequence[Any]) -> Nested:
    """Levels and order from the node that each child is in; see `LabelTree.from_parents`."""
    rows = [integers(row, f"parents[{i}]") for i, row in enumerate(items(parents, "parents"))]
    if len(rows) == 0:
        raise DataError("a tree without levels", wanted="the cluster of each label", next_step=CHECK)
    n = int(rows[0].max(initial=-1)) + 1
    # The number that each node had in `parents`. Of more nodes than children one has none, and one of the first
    # len(rows[0]) is among those: so a wrong number takes no memory.
    names = np.arange(min(n, len(rows[0])))
    levels = []
    for i, row in enumerate(rows):
        beyond = np.flatnonzero((row < 0) | (row >= n))
        if len(beyond):
            raise DataError(
                f"parents[{i}][{beyond[0]}] is {row[beyond[0]]}, but level {i} has {n} nodes",
                wanted=f"numbers from 0 to {n - 1}",
                next_step=CHECK,
            )
        counts = np.bincount(row[row < len(names)], minlength=len(names))
        if (counts == 0).any():
            raise DataError(
                f"cluster {int((counts == 0).argmax())} of level {i} has no children",
                wanted="one child or more for each cluster",
                next_step="number the clusters without gaps",
            )
        number = np.empty_like(names)
        number[names] = np.arange(len(names))
        levels.append(np.concatenate([[0], np.cumsum(counts[names])]).astype(np.int64))
        names = np.argsort(number[row], kind="stable")
        n = len(names)
    return tuple(levels), names


def from_clusters(levels: Sequence[Sequence[Sequence[int]]]) -> Nested:
    """Levels and order from each cluster's children; see `LabelTree.from_clusters`."""
    lists = [items(level, f"levels[{i}]") for i, level in enumerate(items(levels, "levels"))]
    if len(lists) == 0 or len(lists[0]) == 0:
        raise DataError("a tree without clusters", wanted="one level of clusters or more", next_step=CHECK)
    names = np.arange(len(lists[0]))
    offsets = []
    for i, level in enumerate(lists):
        children = [integers(cluster, f"levels[{i}][{j}]") for j, cluster in enumerate(level)]
        last = i == len(lists) - 1
        listed = np.concatenate([np.zeros(0, dtype=np.int64), *children])
        what = "label" if last else f"level {i + 1}'s cluster"
        once(listed, len(listed) if last else len(lists[i + 1]), what, f"is listed in level {i}", "position")
        counts = np.asarray([len(children[j]) for j in names], dtype=np.int64)
        if (counts == 0).any():
            raise DataError(
                f"cluster {names[int((counts == 0).argmax())]} of level {i} is empty",
                wanted="one child or more for each cluster",
                next_step="leave empty clusters out",
            )
        offsets.append(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
        names = np.concatenate([children[j] for j in names])
    return tuple(offsets), names


def items(values: Any, what: str) -> list[Any]:
    """As a list; DataError if it has no items."""
    try:
        return list(values)
    except TypeError:
        raise DataError(
            f"{what} is {values!r:.60}, of type {type(values).__name__}", wanted="a list of lists", next_step=CHECK
        ) from None


def integers(values: Any, what: str) -> np.ndarray:
    """A copy as one row of int64; DataError if these are no integers."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:  # lists of lists of different lengths, for one
        raise DataError(
            f"{what} is no row of numbers ({error})", wanted="one row of integers", next_step=CHECK
        ) from error
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{what} has shape {array.shape} and dtype {array.dtype}",
            wanted="one row of integers",
            next_step=CHECK,
        )
    return np.array(array, dtype=np.int64)
