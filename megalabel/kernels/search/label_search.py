"""Finds the best labels of texts by products of 8-bit integers, in all labels or in the best chunks of a tree.

A text x (D,) is stored as integers q from −127 to 127 and a scale, like a row (`groups.py`): x̂ = scale · q. The
score of a row of a level is

    score = <x̂, ŵ> + bias + ‖x‖ · spread + ‖x − x̂‖ · size

A search goes down the levels: it scores all rows of the chunks that it has reached, keeps the best of them
(`beams`), whose ids are the chunks of the next level, and in the last level, whose ids are labels, the best
`room`. Equal scores are ranked by the lower id. A search of one level with one chunk scores every label.

With spread = ‖w − ŵ‖ and size = ‖ŵ‖, which `group_level` sets, a score is not below x · w + bias, since
|x · w − x̂ · ŵ| ≤ ‖x‖ · ‖w − ŵ‖ + ‖x − x̂‖ · ‖ŵ‖ (Cauchy-Schwarz). A label that is not found then has no higher
product than the lowest score found, so that exact products of the labels found can prove that no other belongs to
the best k (`megalabel.index`).

The compiled code (`_cpu/label_search.py`) goes down level by level and chunk by chunk, so that all texts of a
block that reach a chunk use it while it is in the core's cache. Blocks of texts are distributed over torch's
threads. The result depends on neither. `plain` is the reference implementation of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from megalabel.errors import SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.threads import parallel_for
from megalabel.kernels.search.arrays import Heaps, Level, Queries
from megalabel.kernels.search.groups import BIAS, ROWS, SCALE, SIZE, SPREAD, rows_in

_COMPILED = Operation(__package__, "label_search")
_PACKING = Operation(__package__, "packing")
_BLOCK = 4096  # maximum number of texts that are searched together


def plain(
    x: np.ndarray, levels: Sequence[Level], beams: Sequence[int], room: int
) -> tuple[np.ndarray, np.ndarray]:
    """The result of `LabelSearch` in float64, one text at a time, from texts and rows in float64."""
    ids, keys = np.full((len(x), room), -1, np.int64), np.full((len(x), room), -np.inf)
    decoded = [rows_in(level)[:, : x.shape[1]].astype(np.float64) for level in levels]
    for t, text in enumerate(x.astype(np.float64)):
        scale, q = plain_codes(text)
        rest = np.linalg.norm(text - scale * q)
        chunks = np.zeros(1, np.int64)
        for i, (level, codes) in enumerate(zip(levels, decoded, strict=True)):
            groups = np.concatenate([np.arange(level.starts[c], level.starts[c + 1]) for c in chunks])
            rows = (ROWS * groups[:, None] + np.arange(ROWS)).ravel()
            rows = rows[level.ids[rows] >= 0]
            facts = level.facts.astype(np.float64).transpose(0, 2, 1).reshape(-1, 4)[rows]
            score = scale * facts[:, SCALE] * (codes[rows] @ q) + facts[:, BIAS]
            score += np.linalg.norm(text) * facts[:, SPREAD] + rest * facts[:, SIZE]
            found = level.ids[rows]
            kept = np.lexsort((found, -score))[: room if i + 1 == len(levels) else beams[i]]
            chunks = found[kept].astype(np.int64)
        ids[t, : len(kept)], keys[t, : len(kept)] = chunks, score[kept]
    return ids, keys


def plain_codes(row: np.ndarray) -> tuple[float, np.ndarray]:
    """The scale of a row (D,), and its integers from −127 to 127 as float64."""
    scale = np.float32(np.abs(row).max(initial=0)) / np.float32(127)
    scale = scale if scale > 0 else np.float32(1)
    return float(scale), np.rint(row.astype(np.float32) / scale).astype(np.float64)


class LabelSearch:
    """A search in levels that are checked once; threads may share an instance.

    Args:
        levels: one or more; the ids of a level are the chunks of the next, and the first has one chunk.
        beams: how many rows of each level but the last are kept.
        dim: D, the width of texts and rows.

    Raises:
        SettingError: levels do not fit each other or `dim`, or a beam is below 1.
    """

    def __init__(self, levels: Sequence[Level], beams: Sequence[int], dim: int) -> None:
        check_levels(levels, dim)
        if len(beams) + 1 != len(levels) or any(beam < 1 for beam in beams):
            raise SettingError(
                f"beams {tuple(beams)}", wanted=f"{len(levels) - 1} numbers from 1 up", where="beams"
            )
        self.levels, self.beams, self.dim = tuple(levels), tuple(map(int, beams)), dim
        self._arrays = tuple(Level(*map(_read_only, level)) for level in levels)

    def with_beams(self, beams: Sequence[int]) -> LabelSearch:
        """A search in the same levels with other beams."""
        return LabelSearch(self.levels, beams, self.dim)

    def __call__(self, x: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
        """The ids of the best labels and their scores.

        Args:
            x: (n, D) float32, finite.
            room: labels per text, 1 or more.

        Returns:
            ids (n, room) int64 and scores (n, room) float32, best first; −1 and −inf where fewer are reached.

        Raises:
            SettingError: x has another shape or dtype or is not finite, or `room` is below 1.
        """
        if x.ndim != 2 or x.shape[1] != self.dim or x.dtype != np.float32:
            raise SettingError(f"texts {x.shape} of {x.dtype}", wanted=f"(n, {self.dim}) of float32", where="x")
        if room < 1:
            raise SettingError(f"room={room}", wanted="1 or more", where="room")
        n, fast, packing = len(x), _COMPILED.always(), _PACKING.always()
        room = min(room, len(self.levels[-1].ids))
        x = np.ascontiguousarray(x)
        keys, ids = np.full((n, room), -np.inf, np.float32), np.full((n, room), -1, np.int64)
        sizes, rooms = np.zeros(n, np.int64), np.array(self._rooms(), np.int64)
        block = max(1, min(_BLOCK, -(-n // torch.get_num_threads())))

        def search(_: int, piece: int) -> None:
            part = slice(piece * block, min((piece + 1) * block, n))
            m = part.stop - part.start
            words = np.full((m, self.levels[0].codes.shape[1]), 0x80808080 - (1 << 32), np.int32)
            queries = Queries(words, np.empty((m, 3), np.float32))
            packing.quantize_texts(x[part], *queries)
            if not np.isfinite(queries.traits[:, 1]).all():
                raise SettingError("embeddings that are NaN or infinite", wanted="finite numbers", where="x")
            fast.descend(queries, self._arrays, rooms, Heaps(keys[part], ids[part], sizes[part]))

        if n <= block:
            search(0, 0)
        else:
            parallel_for(search, -(-n // block))
        return _ranked(ids, keys)

    def _rooms(self) -> list[int]:
        """How many rows of each level but the last a text can keep."""
        return [min(beam, len(level.ids)) for beam, level in zip(self.beams, self.levels, strict=False)]


def _ranked(ids: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heaps as rows, best first, equal scores by ascending id."""
    order = np.lexsort((ids, -keys), axis=1)
    return np.take_along_axis(ids, order, 1), np.take_along_axis(keys, order, 1)


def check_levels(levels: Sequence[Level], dim: int) -> None:
    """SettingError unless levels fit each other: the compiled search would read memory outside of their arrays."""
    n_chunks = 1
    for i, level in enumerate(levels):
        groups, words = len(level.codes), -(-dim // 4)
        shapes = (level.codes.shape, level.sums.shape, level.facts.shape, level.ids.shape, level.starts.shape)
        wanted = ((groups, words, 4 * ROWS), (groups, ROWS), (groups, 4, ROWS), (groups * ROWS,), (n_chunks + 1,))
        types = tuple(array.dtype for array in level) == tuple(map(np.dtype, ("i8", "i1", "i4", "f4", "i4")))
        good = shapes == wanted and types and all(array.flags.c_contiguous for array in level)
        if good:
            rows = level.ids[level.ids >= 0]
            good = level.starts[0] == 0 and level.starts[-1] == groups and bool((np.diff(level.starts) >= 0).all())
            good = good and len(rows) > 0 and len(rows) == int(rows.max()) + 1 == len(np.unique(rows))
            n_chunks = len(rows)
        if not good:
            raise SettingError(
                f"level {i} of a search: {shapes}", wanted=f"{wanted}, whose ids are a permutation", where="levels"
            )


def _read_only(array: np.ndarray) -> np.ndarray:
    """So that numba compiles once for memory-mapped and other arrays."""
    view = array.view()
    view.flags.writeable = False
    return view
