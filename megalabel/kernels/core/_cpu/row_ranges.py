"""How the rows that blocks touch are cut into parts of about the same work."""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core.block_order import BlocksByRow


def cut_rows(blocks: BlocksByRow, own_cost: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts the groups' rows 0, 1, … one group after the other, and cuts that count into parts.

    A cut may lie inside a group, since the coarsest level is one group of all its rows.

    Args:
        blocks: G groups.
        own_cost: what a row costs by itself, one member of its group costing 1.
        parts: how many.

    Returns:
        before: (G + 1,) int64, how many rows lie before each group.
        cuts: (parts + 1,) int64, rising; part p is the rows counted cuts[p] to cuts[p + 1] - 1.
    """
    lengths = (blocks.ends - blocks.starts).numpy()
    cost = own_cost + blocks.offsets.diff().numpy()
    before = np.concatenate([[0], np.cumsum(lengths)])
    work = np.concatenate([[0], np.cumsum(lengths * cost)])
    wanted = work[-1] * np.arange(1, parts) // parts
    group = np.clip(np.searchsorted(work, wanted, side="right") - 1, 0, max(len(blocks) - 1, 0))
    inside = before[group] + (wanted - work[group]) // cost[group] if len(blocks) else wanted
    return before, np.concatenate([[0], inside, before[-1:]])
