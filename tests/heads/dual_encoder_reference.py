"""DEXML's decoupled softmax (Gupta et al., ICLR 2024, arXiv 2310.10636) in slow float64 loops.

    s_l  = <x / |x|, v_l / |v_l|> / temperature
    loss = - Σ_{l positive} log( exp(s_l) / (exp(s_l) + Σ_{j not positive} exp(s_j)) )

The denominator of a positive holds that positive and the labels that the text does not have: positives do not
compete with each other, as they do in the softmax of InfoNCE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Learned:
    """A loss and its gradients by the views (B, D) and the label vectors (m, D), neither of unit length."""

    value: float
    d_views: np.ndarray
    d_labels: np.ndarray


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def through_unit(x: np.ndarray, d_unit: np.ndarray) -> np.ndarray:
    """The gradient by x of what has the gradient d_unit by x / |x|."""
    u = unit(x)
    return (d_unit - u * float(u @ d_unit)) / np.linalg.norm(x)


def term(s: np.ndarray, positive: int, positives: set[int]) -> tuple[float, np.ndarray]:
    """The loss of one positive of a text with scores s (m,), and its gradient by s."""
    inside = [positive, *(j for j in range(len(s)) if j not in positives)]
    most = max(float(s[j]) for j in inside)
    mass = {j: math.exp(float(s[j]) - most) for j in inside}
    total = sum(mass.values())
    slope = np.zeros(len(s))
    for j in inside:
        slope[j] = mass[j] / total
    slope[positive] -= 1
    return -(float(s[positive]) - most - math.log(total)), slope


def learn(
    views: np.ndarray,
    vectors: np.ndarray,
    labels: list[set[int]],
    temperature: float,
    reduction: str = "mean",
    scored: list[int] | None = None,
) -> Learned:
    """The loss over the labels `scored` (all where None), and the gradients.

    "sum" is the publication's formula, summed over the texts of the batch; "mean" is the mean over the texts of
    the mean over each text's positives, which is the expectation of drawing one positive per text. A text without
    positives counts 0.
    """
    scored = list(range(len(vectors))) if scored is None else scored
    d_unit_views, d_unit_labels = np.zeros(views.shape), np.zeros(vectors.shape)
    value = 0.0
    for b in range(len(views)):
        s = np.array([unit(views[b]) @ unit(vectors[j]) / temperature for j in scored])
        own = {scored.index(label) for label in labels[b]}
        weight = 1 / (len(views) * max(len(own), 1)) if reduction == "mean" else 1.0
        for positive in own:
            loss, slope = term(s, positive, own)
            value += weight * loss
            for at, j in enumerate(scored):
                d_unit_views[b] += weight * slope[at] * unit(vectors[j]) / temperature
                d_unit_labels[j] += weight * slope[at] * unit(views[b]) / temperature
    return Learned(
        value,
        np.array([through_unit(x, d) for x, d in zip(views, d_unit_views, strict=True)]),
        np.array([through_unit(v, d) for v, d in zip(vectors, d_unit_labels, strict=True)]),
    )


def topk(
    views: np.ndarray, vectors: np.ndarray, k: int, temperature: float, exclude: list[set[int]] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """ids (B, k), -1 where there are no more, and scores (B, k), -inf there; ties go to the lower id."""
    ids, best = np.full((len(views), k), -1), np.full((len(views), k), -np.inf)
    for b in range(len(views)):
        allowed = [j for j in range(len(vectors)) if exclude is None or j not in exclude[b]]
        s = {j: float(unit(views[b]) @ unit(vectors[j])) / temperature for j in allowed}
        for at, j in enumerate(sorted(allowed, key=lambda j: (-s[j], j))[:k]):
            ids[b, at], best[b, at] = j, s[j]
    return ids, best
