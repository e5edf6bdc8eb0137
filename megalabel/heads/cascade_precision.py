"""Precision of the levels of a cascade on some texts of a batch, for the log."""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.distributed.collectives import gather_rows
from megalabel.distributed.merged_shortlist import cells_of
from megalabel.distributed.world import World
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.types import Positives

PRECISION_AT = (1, 5)  # the k of P@k in the log
MEASURED = 64  # texts of a batch whose precision is measured


def precision(logits: Tensor, candidates: Candidates, positives: Positives, k: int) -> float:
    """The fraction of positives among the k best candidates of the first texts of a batch."""
    ends = candidates.text_cells()[: MEASURED + 1].tolist()
    texts, rows = len(ends) - 1, candidates.rows_of_cells()
    true = set(zip(positives.rows.tolist(), positives.labels.tolist(), strict=True))
    hits = 0
    for text in range(texts):
        scores = logits[ends[text] : ends[text + 1]]
        best = scores.topk(min(k, len(scores))).indices + ends[text]
        hits += sum((text, row) in true for row in rows[best].tolist())
    return hits / max(texts * k, 1)


def merged_precision(
    logits: Tensor, candidates: Candidates, positives: Positives, world: World
) -> dict[int, float]:
    """The same for each k in the log, where every process has candidates and positives of its own of the texts."""
    if world.size == 1:
        return {k: precision(logits, candidates, positives, k) for k in PRECISION_AT}
    ends, most = candidates.text_cells()[: MEASURED + 1].tolist(), max(PRECISION_AT)
    texts = len(ends) - 1
    right = torch.zeros(candidates.n_cells, dtype=torch.bool, device=logits.device)
    right[cells_of(candidates, positives)] = True
    best = torch.full((texts, most, 2), -torch.inf, dtype=torch.float32, device=logits.device)
    for text in range(texts):
        scores = logits[ends[text] : ends[text + 1]].topk(min(most, ends[text + 1] - ends[text]))
        best[text, : len(scores.values), 0] = scores.values.float()
        best[text, : len(scores.values), 1] = right[scores.indices + ends[text]].float()
    found = gather_rows(best, [texts] * world.size, world).view(world.size, texts, most, 2)
    merged = found.transpose(0, 1).flatten(1, 2)
    order = merged[..., 0].topk(most, dim=1).indices
    hits = merged[..., 1].gather(1, order) > 0
    return {k: int(hits[:, :k].sum()) / max(texts * k, 1) for k in PRECISION_AT}
