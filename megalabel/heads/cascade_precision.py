"""Precision of the levels of a cascade on some texts of a batch, for the log."""

from __future__ import annotations

from torch import Tensor

from megalabel.kernels.candidates.candidates import Candidates
from megalabel.types import Positives

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
