"""Divides the rows of blocks into parts of about equal work."""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core.block_order import BlocksByRow


def cut_rows(blocks: BlocksByRow, own_cost: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the rows of all groups consecutively, and divides this range into parts.

    A part may end inside a group, since the coarsest level is a single group of all its rows.

    Args:
        blocks: G groups.
        own_cost: the fixed cost of a row, in units of the cost of one member of its group.
        parts: the number of parts.

    Returns:
        before: (G + 1,) int64, the number of rows before each group.
        cuts: (parts + 1,) int64, ascending; part p consists of rows cuts[p] to cuts[p + 1] - 1.
    """
    lengths = (blocks.ends - blocks.starts).numpy()
    cost = own_cost + blocks.offsets.diff().numpy()
    before = np.concatenate([[0], np.cumsum(lengths)])
    work = np.concatenate([[0], np.cumsum(lengths * cost)])
    wanted = work[-1] * np.arange(1, parts) // parts
    group = np.clip(np.searchsorted(work, wanted, side="right") - 1, 0, max(len(blocks) - 1, 0))
    inside = before[group] + (wanted - work[group]) // cost[group] if len(blocks) else wanted
    return before, np.concatenate([[0], inside, before[-1:]])
