"""The scale of the scores of added labels: from similarities of unit vectors to the scores of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from megalabel.models.base import Classifier

Rows: TypeAlias = Any  # (N, D) float32, an array or CSR

MOST_LABELS = 2048  # labels that are taken as if they were added
MOST_TEXTS = 1024
RANKS = 10  # best similarities of a text
TOGETHER = 4  # label texts that make a text where none are given
LEAST_SLOPE = 0.1
CLOSEST = 1e-6  # of a probability to 0 and 1, for its logarithm of odds


def unit(rows: Rows) -> Rows:
    """Rows of length 1, float32; rows of zeros stay. Arrays (N, D) or CSR."""
    if sp.issparse(rows):
        rows = sp.csr_matrix(rows, dtype=np.float32)
        norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), dtype=np.float64)).ravel()
        found = sp.csr_matrix(sp.diags(1 / np.where(norms > 0, norms, 1)) @ rows, dtype=np.float32)
        found.sort_indices()
        return found
    rows = np.asarray(rows, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1).astype(np.float32)


def cosines(texts: Sequence[Rows], labels: Sequence[Rows]) -> np.ndarray:
    """The mean over spaces of the cosines of N texts and n labels, given as unit vectors: (N, n) float64."""
    total = 0.0
    for x, v in zip(texts, labels, strict=True):
        product = x @ v.T
        total = total + (product.toarray() if sp.issparse(product) else product).astype(np.float64)
    return np.asarray(total) / len(texts)


def estimate(model: Classifier, texts: Sequence[str]) -> tuple[float, float]:
    """Slope and offset from similarities to the scores of a model, or to their logits where they are
    probabilities.

    The texts of some labels of the model are compared with the texts as if these labels were added. The r-th best
    similarity of a text among m of L labels is set against the score at rank r · L / m; the line is fitted to the
    medians over the texts.

    Args:
        model: a trained model.
        texts: some texts; where there are fewer than ten, texts are made of the texts of four of these labels
        each.
    """
    names = [name for name in model.label_texts if name.strip()]
    random = np.random.default_rng(0)
    picked = np.sort(random.permutation(len(names))[:MOST_LABELS])
    sample = [names[i] for i in picked]
    own = 0 if len(texts) >= RANKS else min(TOGETHER, len(sample))
    if own:
        made = [random.permutation(len(sample))[:own] for _ in range(MOST_TEXTS)]
        asked = [" ".join(sample[i] for i in one) for one in made]
    else:
        asked = [texts[i] for i in random.permutation(len(texts))[:MOST_TEXTS]]
    labels = [unit(rows) for rows in model.label_spaces(sample)]
    similar = cosines([unit(rows) for rows in model.label_spaces(asked)], labels)
    best = -np.sort(-similar, axis=1)[:, :RANKS]
    n = best.shape[1]
    if n == 0:
        return 1.0, 0.0
    # The labels whose texts were put together are all in the sample, the others are one in `every`.
    every = len(model.label_texts) / len(sample)
    ranks = np.arange(n)
    ranks = np.where(ranks < own, ranks, own - 1 + np.ceil((ranks + 1 - own) * every)).astype(int)
    ranks = np.minimum(ranks, len(model.label_texts) - 1)
    scores = model.topk(asked, int(ranks.max()) + 1).numpy()[1][:, ranks].astype(np.float64)
    if model.score_type == "probability":
        p = np.clip(scores, CLOSEST, 1 - CLOSEST)
        scores = np.where(np.isfinite(scores), np.log(p / (1 - p)), -np.inf)
    there = np.isfinite(scores)
    middle = [(np.median(best[t, r]), np.median(scores[t, r])) for r, t in enumerate(there.T) if t.any()]
    return _line(np.array(middle).reshape(-1, 2))


def _line(points: np.ndarray) -> tuple[float, float]:
    """Slope, at least 0.1, and offset of the line through points (n, 2) with the least squared error."""
    if len(points) == 0:
        return 1.0, 0.0
    x, y = points.T
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 1e-12 else 1.0
    slope = max(slope, LEAST_SLOPE)
    return slope, float(y.mean() - slope * x.mean())
