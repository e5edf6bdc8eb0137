"""Checks the arrays of a label tree, and makes them from the parents or the lists of children of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from megalabel.errors import DataError

Nested = tuple[tuple[np.ndarray, ...], np.ndarray]
CHECK_LISTS = "check the lists that the tree is made from"


def check_offsets(offsets: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """Checks the levels of a tree, and returns them coarse to fine, each as (n_i + 1,) int64; see `LabelTree`.

    Raises:
        DataError: there is no level, the values are not integers, a node is empty, or a level does not fit the
            next.
    """
    levels = tuple(as_integers(level, f"offsets[{i}]") for i, level in enumerate(as_list(offsets, "offsets")))
    if len(levels) == 0:
        raise DataError("a tree without levels", wanted="at least one level of clusters", next_step=CHECK_LISTS)
    for i, level in enumerate(levels):
        if len(level) < 2 or level[0] != 0:
            start = f"starts with {level[0]}" if len(level) else "is empty"
            raise DataError(
                f"offsets[{i}] {start if len(level) != 1 else 'has one number'}",
                wanted="0, followed by the end of the children of each node",
                next_step=CHECK_LISTS,
            )
        empty = np.flatnonzero(level[1:] <= level[:-1])
        if len(empty):
            a, b = level[empty[0]], level[empty[0] + 1]
            raise DataError(
                f"node {empty[0]} of level {i} has the children {a} to {b}, which are none",
                wanted="at least one child per node",
                next_step="leave empty clusters out",
            )
    for i, (level, below) in enumerate(pairwise(levels)):
        if level[-1] != len(below) - 1:
            raise DataError(
                f"level {i} has {level[-1]} children, level {i + 1} has {len(below) - 1} nodes",
                wanted="each node in exactly one node of the level above",
                next_step=CHECK_LISTS,
            )
    return levels


def check_order(order: Any, n_positions: int) -> np.ndarray:
    """Returns the label at each position, (L,) int64; DataError unless it is a permutation of 0 to L - 1."""
    order = as_integers(order, "order")
    if len(order) != n_positions:
        raise DataError(
            f"{len(order)} labels in the order, {n_positions} positions in the last level",
            wanted="one label per position",
            next_step=CHECK_LISTS,
        )
    check_each_once(order, n_positions, "label", "is", "position")
    checked: np.ndarray = order
    return checked


def check_each_once(members: np.ndarray, n: int, what: str, verb: str, position: str) -> None:
    """Raises DataError unless `members` are the numbers 0 to n - 1, each exactly once.

    Args:
        members: the numbers.
        n: how many there should be.
        what, verb, position: the words of a message about a member, such as "label", "is" and "position".
    """
    beyond = np.flatnonzero((members < 0) | (members >= n))
    if len(beyond):
        raise DataError(
            f"{what} {members[beyond[0]]} {verb} at {position} {beyond[0]}, and there are {n}",
            wanted=f"numbers from 0 to {n - 1}, each once",
            next_step=CHECK_LISTS,
        )
    counts = np.bincount(members, minlength=n)
    repeated = np.flatnonzero(counts > 1)
    if len(repeated):
        first, second = np.flatnonzero(members == repeated[0])[:2]
        raise DataError(
            f"{what} {repeated[0]} {verb} at {position}s {first} and {second}",
            wanted="each once",
            next_step=CHECK_LISTS,
        )
    if (counts == 0).any():
        raise DataError(
            f"{what} {int((counts == 0).argmax())} {verb} at no {position}",
            wanted="each once",
            next_step=CHECK_LISTS,
        )


def from_parents(parents: Sequence[Any]) -> Nested:
    """Makes levels and order from the parent of each node; see `LabelTree.from_parents`."""
    rows = [as_integers(row, f"parents[{i}]") for i, row in enumerate(as_list(parents, "parents"))]
    if len(rows) == 0:
        raise DataError("a tree without levels", wanted="the cluster of each label", next_step=CHECK_LISTS)
    n = int(rows[0].max(initial=-1)) + 1
    # The numbers of the nodes in `parents`. If there are more nodes than children, a node without children is
    # among the first len(rows[0]), so a number that is far too large allocates no memory.
    names = np.arange(min(n, len(rows[0])))
    levels = []
    for i, row in enumerate(rows):
        beyond = np.flatnonzero((row < 0) | (row >= n))
        if len(beyond):
            raise DataError(
                f"parents[{i}][{beyond[0]}] is {row[beyond[0]]}, but level {i} has {n} nodes",
                wanted=f"numbers from 0 to {n - 1}",
                next_step=CHECK_LISTS,
            )
        counts = np.bincount(row[row < len(names)], minlength=len(names))
        if (counts == 0).any():
            raise DataError(
                f"cluster {int((counts == 0).argmax())} of level {i} has no children",
                wanted="at least one child per cluster",
                next_step="number the clusters without gaps",
            )
        number = np.empty_like(names)
        number[names] = np.arange(len(names))
        levels.append(np.concatenate([[0], np.cumsum(counts[names])]).astype(np.int64))
        names = np.argsort(number[row], kind="stable")
        n = len(names)
    return tuple(levels), names


def from_clusters(levels: Sequence[Sequence[Sequence[int]]]) -> Nested:
    """Makes levels and order from the children of each cluster; see `LabelTree.from_clusters`."""
    lists = [as_list(level, f"levels[{i}]") for i, level in enumerate(as_list(levels, "levels"))]
    if len(lists) == 0 or len(lists[0]) == 0:
        raise DataError("a tree without clusters", wanted="at least one level of clusters", next_step=CHECK_LISTS)
    names = np.arange(len(lists[0]))
    offsets = []
    for i, level in enumerate(lists):
        children = [as_integers(cluster, f"levels[{i}][{j}]") for j, cluster in enumerate(level)]
        last = i == len(lists) - 1
        listed = np.concatenate([np.zeros(0, dtype=np.int64), *children])
        what = "label" if last else f"level {i + 1}'s cluster"
        check_each_once(
            listed, len(listed) if last else len(lists[i + 1]), what, f"is listed in level {i}", "position"
        )
        counts = np.asarray([len(children[j]) for j in names], dtype=np.int64)
        if (counts == 0).any():
            raise DataError(
                f"cluster {names[int((counts == 0).argmax())]} of level {i} is empty",
                wanted="at least one child per cluster",
                next_step="leave empty clusters out",
            )
        offsets.append(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
        names = np.concatenate([children[j] for j in names])
    return tuple(offsets), names


def as_list(values: Any, what: str) -> list[Any]:
    """The values as a list; DataError if they are not iterable."""
    try:
        return list(values)
    except TypeError:
        raise DataError(
            f"{what} is {values!r:.60}, of type {type(values).__name__}",
            wanted="a list of lists",
            next_step=CHECK_LISTS,
        ) from None


def as_integers(values: Any, what: str) -> np.ndarray:
    """A copy of the values as a one-dimensional int64 array; DataError if they are not integers."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:  # for example lists of different lengths
        raise DataError(
            f"{what} is not a row of numbers ({error})", wanted="a row of integers", next_step=CHECK_LISTS
        ) from error
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{what} has shape {array.shape} and dtype {array.dtype}",
            wanted="a row of integers",
            next_step=CHECK_LISTS,
        )
    return np.array(array, dtype=np.int64)
