"""Merges the rankings of processes that own different labels into one ranking of all labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from megalabel.distributed.collectives import Traffic, gather_rows
from megalabel.distributed.world import World
from megalabel.kernels.sparse.merge_topk import best_of
from megalabel.types import TopK

_LAST = torch.iinfo(torch.int64).max


def merged_topk(found: TopK, first_label: int, k: int, world: World, traffic: Traffic | None = None) -> TopK:
    """The k best labels of all processes, in every process; ties go to the lower label id.

    Args:
        found: the ranking of this process's labels, ids (B, k') and scores (B, k'), with k' at most k, its ids
            counted from 0; -1 for no label. Every process ranks the same B texts.
        first_label: the id of this process's label 0.
        k: labels per text.
        world: the processes.
        traffic: counts the bytes; None to count none.

    Returns:
        ids (B, k) and scores (B, k); -1 and -inf where all processes together have fewer labels, never before a
        label.
    """
    ids, scores = padded(found, first_label, k)
    n = len(ids)
    sizes = [n] * world.size
    parts = [(ids, scores)]
    if world.size > 1:
        all_ids, all_scores = (gather_rows(x, sizes, world, traffic) for x in (ids, scores))
        parts = list(zip(all_ids.split(n or 1), all_scores.split(n or 1), strict=True)) if n else parts
    return merge_shards([TopK(i, s) for i, s in parts], k)


def merge_shards(found: Sequence[TopK], k: int) -> TopK:
    """The k best of the rankings of different labels, with the ids of all labels; see `merged_topk`."""
    ids = torch.cat([one.ids for one in found], dim=1)
    scores = torch.cat([one.scores for one in found], dim=1)
    # As the last ids, missing labels come after real ones with the same score, which may be -inf.
    best = best_of(torch.where(ids < 0, _LAST, ids), torch.where(ids < 0, -torch.inf, scores), k)
    return TopK(torch.where(best.ids == _LAST, -1, best.ids), best.scores)


def padded(found: TopK, first_label: int, k: int) -> tuple[Tensor, Tensor]:
    """A ranking (B, k') with the ids of all labels, filled up to k columns by -1 and -inf."""
    ids = torch.where(found.ids < 0, -1, found.ids + first_label)
    missing = k - ids.shape[1]
    scores = found.scores.float()
    if missing > 0:
        ids = torch.nn.functional.pad(ids, (0, missing), value=-1)
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
    return ids, scores
