"""NGAME's triplet loss (Dahiya et al., WSDM 2023) over the labels of a batch, in slow float64 loops.

    s[b, l] = <x_b / |x_b|, v_l / |v_l|>
    loss    = 1/B Σ_b Σ_j w_j max(0, s[b, j] − s[b, p_b] + margin)

j runs over the best scored labels of the batch that text b does not have; p_b is the label that was drawn for it.
"""

from __future__ import annotations

import math

import numpy as np

TEMPERATURE = 0.1  # of the weights


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def triplet(
    views: np.ndarray,
    vectors: np.ndarray,
    labels: list[set[int]],
    drawn: dict[int, int],
    *,
    margin: float,
    hardest: int,
    weighting: str,
) -> float:
    """The loss; `drawn` has a label for each text that has some, and its values are the labels of the batch."""
    batch, total = sorted(set(drawn.values())), 0.0
    for text, positive in drawn.items():
        score = {j: float(unit(views[text]) @ unit(vectors[j])) for j in batch}
        others = sorted((j for j in batch if j not in labels[text]), key=lambda j: -score[j])[:hardest]
        terms = [max(0.0, score[j] - score[positive] + margin) for j in others]
        if weighting == "mean":
            weights = [1 / len(others) for _ in others]
        else:
            mass = [
                math.exp(score[j] / TEMPERATURE) if term > 0 else 1.0
                for j, term in zip(others, terms, strict=True)
            ]
            weights = [m / sum(mass) for m in mass]
        total += sum(w * t for w, t in zip(weights, terms, strict=True))
    return total / len(views)


def softmax(
    views: np.ndarray, vectors: np.ndarray, labels: list[set[int]], drawn: dict[int, int], temperature: float
) -> float:
    """The decoupled softmax over the labels of the batch, averaged over a text's labels among them."""
    batch, total = sorted(set(drawn.values())), 0.0
    for text in drawn:
        mass = {j: math.exp(float(unit(views[text]) @ unit(vectors[j])) / temperature) for j in batch}
        negatives = sum(m for j, m in mass.items() if j not in labels[text])
        own = [j for j in batch if j in labels[text]]
        total += sum(-math.log(mass[j] / (mass[j] + negatives)) for j in own) / len(own)
    return total / len(views)


def slopes(loss, *arrays: np.ndarray, step: float = 1e-6) -> list[np.ndarray]:
    """Central differences of a loss by each entry of some arrays."""
    found = []
    for array in arrays:
        slope = np.zeros(array.shape)
        for at in np.ndindex(array.shape):
            kept = array[at]
            array[at] = kept + step
            above = loss()
            array[at] = kept - step
            below = loss()
            array[at] = kept
            slope[at] = (above - below) / (2 * step)
        found.append(slope)
    return found
