"""Numba implementation of `linear/dual_descent.py`: parents are distributed over threads, the largest first.

Only checked arrays may be passed: an index out of range would write outside of the arrays.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.core._cpu.compiling import compiled
from megalabel.kernels.core._cpu.lanes import zeros
from megalabel.kernels.core._cpu.pointers import pointer
from megalabel.kernels.core.threads import parallel_for
from megalabel.kernels.linear._cpu.descent_block import (
    LANES,
    STATE,
    Block,
    Problem,
    Rows,
    block_at,
    descend,
    rows_at,
)
from megalabel.kernels.linear._cpu.descent_ends import begin, begin_at, has_errors, has_positives, keep
from megalabel.kernels.linear._cpu.descent_rows import Data, Scratch, forget, gather

_ROOM = 1 << 24  # room for the weights of a task, unless a block needs more; most tasks use little of it
_LEAST = 1e-45  # the smallest float32 number above 0
_TASKS = 256  # approximate number of tasks
_PARTS = (
    16  # a parent with more than this fraction (1 / 16) of the work is divided, so that no thread waits for it
)


def data_of(
    x: sp.csr_matrix,
    dense: np.ndarray,
    inverse: np.ndarray,
    texts: sp.csr_matrix,
    positives: sp.csr_matrix,
    scores: np.ndarray,
    offsets: np.ndarray,
) -> Data:
    """The arrays in the dtypes for which the code is compiled."""
    starts = [matrix.indptr.astype(np.int64) for matrix in (x, texts, positives)]
    columns = [matrix.indices.astype(np.int32, copy=False) for matrix in (x, texts, positives)]
    of_children = np.append(0, np.cumsum(np.repeat(np.diff(starts[1]), np.diff(offsets))))
    return Data(
        starts[0], columns[0], x.data, dense, inverse, starts[1], columns[1], starts[2], columns[2], scores,
        of_children if len(scores) else np.empty(0, np.int64),
    )  # fmt: skip


def train(
    data: Data, n_features: int, offsets: np.ndarray, keys: np.ndarray, problem: Problem, threshold: float
) -> tuple[sp.csr_matrix, np.ndarray]:
    """The weights of all children, (C, V + 1) or, without bias, (C, V), and of the dense features, (C, E)."""
    n_children, width = len(data.child_starts) - 1, data.dense.shape[1]
    lengths = np.diff(data.indptr)
    entries = np.add.reduceat(np.append(lengths[data.parent_texts], 0), data.parent_starts[:-1])
    sizes = np.diff(data.parent_starts)
    entries[sizes == 0] = 0
    tasks, room = _tasks(offsets, entries, sizes, n_features, width)
    counts = np.zeros(n_children, dtype=np.int64)
    dense = np.zeros((n_children, width), dtype=np.float32)
    nothing = np.empty(0, np.int32), np.empty(0, np.float32)
    kept = [nothing] * len(tasks)
    scratch: dict[int, tuple[Scratch, np.ndarray, np.ndarray]] = {}
    bias_column = n_features if problem.bias else -1
    bar = np.float32(max(threshold, _LEAST))

    def work(worker: int, number: int) -> None:
        if worker not in scratch:
            own = _scratch(data, n_features, int(entries.max(initial=0)), int(sizes.max(initial=0)))
            scratch[worker] = own, np.empty(room, np.int32), np.empty(room, np.float32)
        own, columns, values = scratch[worker]
        end = np.zeros(1, dtype=np.int64)
        solve(
            tasks[number], data, keys, problem, bar, bias_column, own, columns, values,
            counts, dense, end,
        )  # fmt: skip
        kept[number] = columns[: end[0]].copy(), values[: end[0]].copy()

    parallel_for(work, len(tasks))
    scratch.clear()
    indptr = np.zeros(n_children + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    columns = np.empty(indptr[-1], dtype=np.int32)
    values = np.empty(indptr[-1], dtype=np.float32)
    for number, task in enumerate(tasks):
        place = 0
        for _, first, last in task.tolist():
            size = int(indptr[last] - indptr[first])
            columns[indptr[first] : indptr[last]] = kept[number][0][place : place + size]
            values[indptr[first] : indptr[last]] = kept[number][1][place : place + size]
            place += size
        kept[number] = nothing
    shape = (n_children, n_features + (bias_column >= 0))
    return sp.csr_matrix((values, columns, indptr), shape=shape), dense


def _tasks(
    offsets: np.ndarray, entries: np.ndarray, sizes: np.ndarray, n_features: int, width: int
) -> tuple[list[np.ndarray], int]:
    """Tasks (parent, first child, last child + 1) by descending work, and the room needed for the weights of one.

    A parent with many children may be divided between blocks; its rows are then gathered once per part.
    """
    room_of = np.minimum(entries, n_features) + 1  # of one classifier
    cost = entries + (20 + width) * sizes  # approximate cost of a block of classifiers
    blocks = -(-np.diff(offsets) // LANES)
    total = int((cost * blocks).sum())
    fair, much = total // _TASKS, total // _PARTS
    parts, works, rooms = [], [], []
    for parent in np.flatnonzero(blocks * sizes):
        most = max(1, min(_ROOM // int(LANES * room_of[parent]), -(-much // int(cost[parent]))))
        for start in range(0, int(blocks[parent]), most):
            first = int(offsets[parent]) + start * LANES
            last = min(first + most * LANES, int(offsets[parent + 1]))
            parts.append((int(parent), first, last))
            works.append(int(cost[parent]) * min(most, int(blocks[parent]) - start))
            rooms.append(-(-(last - first) // LANES) * LANES * int(room_of[parent]))
    tasks: list[np.ndarray] = []
    group: list[tuple[int, int, int]] = []
    work = room = largest = 0
    for i in sorted(range(len(parts)), key=lambda i: (-works[i], i)):
        if group and (work + works[i] > fair or room + rooms[i] > _ROOM):
            tasks.append(np.array(group, dtype=np.int64))
            group, work, room = [], 0, 0
        group.append(parts[i])
        work, room = work + works[i], room + rooms[i]
        largest = max(largest, room)
    if group:
        tasks.append(np.array(group, dtype=np.int64))
    return tasks, largest


def _scratch(data: Data, n_features: int, entries: int, size: int) -> Scratch:
    """Scratch memory for a parent with `entries` entries and `size` rows; unused pages take no physical memory."""
    n_texts, width = data.dense.shape
    features = min(entries, n_features)
    shared = min(entries // 2, n_features)

    def floats(n: int) -> np.ndarray:  # aligned to cache lines
        memory = np.empty(n + LANES, np.float32)
        start = -memory.ctypes.data // memory.itemsize % LANES
        return memory[start : start + n]

    return Scratch(
        seen=np.zeros(n_features, np.int32),
        touched=np.empty(features, np.int32),
        marks=np.zeros((n_features >> 6) + 1, np.int64),
        words=np.zeros((n_features >> 12) + 1, np.int64),
        row_of=np.zeros(n_texts, np.int32),
        starts=np.empty(size + 1, np.int64),
        columns=np.empty(entries, np.int32),
        values=floats(entries),
        own=floats(size),
        scales=floats(2 * size),
        own_rows=np.empty(features, np.int32),
        own_values=floats(features),
        tops=floats(size),
        heard=np.empty(size, np.bool_),
        sums=np.empty(shared, np.float64),
        dense_sums=np.empty(width, np.float64),
        shares=np.empty(size, np.float64),
        weights=floats(shared * LANES),
        dense=floats(width * LANES),
        state=floats(size * STATE),
        lanes=floats(4 * LANES),
        start=floats(size * LANES if len(data.scores) else 0),
        order=np.empty(size, np.int32),
    )


@compiled
def solve(task, data, keys, problem, threshold, bias_column, scratch, columns, values, counts, dense, end):
    """Fits the classifiers of a task; writes kept weights consecutively, their counts, and dense weights."""
    s, width, started = scratch, data.dense.shape[1], len(data.scores) > 0
    block = np.empty(LANES, np.int64)
    of_lanes = np.zeros(LANES, np.int64)
    place = 0
    for t in range(len(task)):
        parent, first, last = task[t, 0], task[t, 1], task[t, 2]
        texts = data.parent_texts[data.parent_starts[parent] : data.parent_starts[parent + 1]]
        n_touched, shared = gather(data, texts, problem.bias, problem.soft_negative, problem.soft_positive, s)
        weighted = len(data.inverse) > 0
        rows = Rows(
            s.starts, s.columns, s.values, s.own, s.scales, texts, data.dense, width, data.inverse, weighted,
            s.start, started,
        )  # fmt: skip
        child = first
        while child < last:
            filled = 0
            while child < last and filled < LANES:
                if has_errors(data, child, s) if started else has_positives(data, child, s):
                    block[filled] = child
                    filled += 1
                child += 1
            if filled == 0:
                break
            if started:
                begin_at(data, texts, block[:filled], shared, s)
            else:
                begin(data, texts, block[:filled], shared, problem, s)
            models = block_at(Block(s.weights, s.dense, s.state, s.lanes))
            descend(rows_at(rows), models, problem, pointer(s.order), len(texts), keys[parent], zeros(LANES))
            place = keep(
                s, len(texts), n_touched, filled, threshold, bias_column, columns, values, place, of_lanes
            )
            for lane in range(filled):
                counts[block[lane]] = of_lanes[lane]
                for j in range(width):
                    dense[block[lane], j] = s.dense[j * LANES + lane]
        forget(texts, n_touched, s)
    end[0] = place
