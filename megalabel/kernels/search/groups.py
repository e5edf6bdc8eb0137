"""Tables of 8-bit integers in groups of sixteen rows, in the order in which a search reads them.

A row w (D,) is stored as integers c from −127 to 127 and a scale: ŵ = scale · c, with scale = max |w| / 127, and c
rounded half to even. Rows of a chunk lie in groups of sixteen; within a group the four integers 4 j to 4 j + 3 of
all sixteen rows are neighbors, so that one instruction multiplies them with the same four numbers of a text. The
last group of a chunk is filled with rows that are never found.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from megalabel.errors import SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.threads import parallel_for
from megalabel.kernels.search.arrays import Level

ROWS = 16  # rows of a group
WIDEST = 1 << 16  # numbers in a row whose sum of products fits 32 bits
SCALE, BIAS, SPREAD, SIZE = range(4)  # the facts of a row
_BLOCK = 256  # groups that are packed at a time

_COMPILED = Operation(__package__, "packing")


def group_level(
    rows_of: Callable[[np.ndarray], np.ndarray],
    bias: np.ndarray | None,
    chunks: np.ndarray,
    order: np.ndarray,
    dim: int,
) -> Level:
    """Packs rows into groups.

    Args:
        rows_of: (m,) int64 numbers of rows ↦ (m, D) float32.
        bias: one number per row, or None.
        chunks: (C + 1,) int64: order[chunks[c] : chunks[c + 1]] are the rows of chunk c, in ascending order.
        order: (n,) int64, a permutation of the rows; `ids` of the result are these numbers.
        dim: D.

    Returns:
        The level, whose facts are: the scale, the bias, ‖w − ŵ‖ as spread and ‖ŵ‖ as size.

    Raises:
        SettingError: D is 0 or above 65,536.
    """
    if not 1 <= dim <= WIDEST:
        raise SettingError(f"{dim} numbers in a row", wanted=f"1 to {WIDEST:,}", where="dim")
    sizes = np.diff(chunks)
    n_groups = -(-sizes // ROWS)
    starts = np.concatenate([[0], np.cumsum(n_groups)]).astype(np.int64)
    total = int(starts[-1])
    ids = np.full(ROWS * total, -1, np.int32)
    places = np.arange(len(order)) + np.repeat(ROWS * starts[:-1] - chunks[:-1], sizes)
    ids[places] = order
    codes = np.zeros((total, -(-dim // 4), 4 * ROWS), np.int8)
    sums, facts = np.zeros((total, ROWS), np.int32), np.zeros((total, 4, ROWS), np.float32)
    fast = _COMPILED.always()

    def pack(_: int, piece: int) -> None:
        part = slice(piece * _BLOCK, min((piece + 1) * _BLOCK, total))
        own = ids[ROWS * part.start : ROWS * part.stop]
        rows = np.zeros((len(own), dim), np.float32)
        rows[own >= 0] = rows_of(own[own >= 0].astype(np.int64))
        fast.pack_rows(rows, codes[part], sums[part], facts[part])

    parallel_for(pack, -(-total // _BLOCK))
    if bias is not None:
        facts[:, BIAS].reshape(-1)[:] = 0
        facts[:, BIAS] = np.where(ids >= 0, np.asarray(bias, np.float32)[np.maximum(ids, 0)], 0).reshape(
            total, ROWS
        )
    return Level(starts, codes, sums, facts, ids)


def rows_in(level: Level) -> np.ndarray:
    """The integers of all rows, those that fill groups included: (16 · G, 4 · W) int8."""
    groups, words, _ = level.codes.shape
    return level.codes.reshape(groups, words, ROWS, 4).transpose(0, 2, 1, 3).reshape(groups * ROWS, 4 * words)
