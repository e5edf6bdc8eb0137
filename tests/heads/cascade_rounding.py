"""How far a float32 cascade may be from the float64 reference: first-order bounds of the rounding of each number.

A float32 sum of n terms, added in any order, is off by at most (n - 1) u of the sum of their magnitudes, where
u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 4.2). So every bound is made of
the numbers of terms and of the sums of magnitudes, and holds for every processor and every order of a sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from heads.cascade_reference import Cascade, Level
from torch import Tensor

U = 2.0**-24
FEW = 8  # roundings of a sigmoid, a softplus, or of the products and the scale around a sum


@dataclass(frozen=True)
class Bounds:
    """The greatest error of the loss and of each gradient, in the shapes of `cascade_reference.Learned`."""

    value: float
    d_views: np.ndarray
    d_weights: list[np.ndarray]
    d_biases: list[np.ndarray]


def bounds(
    cascade: Cascade, views: np.ndarray, levels: list[Level], level_weights: list[float], reduction: str
) -> Bounds:
    """The bounds of what `learn` found at these levels."""
    shared, batch, dim = views.shape[1] == 1, len(views), views.shape[2]
    value, terms = 0.0, np.zeros(views.shape[:2])
    size_views, off_views = np.zeros(views.shape), np.zeros(views.shape)
    d_weights, d_biases = [], []
    for level, made in enumerate(levels):
        real, view = made.candidates != cascade.size(level), 0 if shared else level
        rate = level_weights[level] * (1.0 if reduction == "sum" else 1 / max(int(real.sum()), 1))
        weights = np.abs(cascade.weights[level])[made.candidates]  # (B, C, D)
        f, p, y = np.abs(views[:, view].astype(float)), made.probability, made.target
        of_logit = np.einsum("bd,bcd->bc", f, weights) + np.abs(cascade.biases[level])[made.candidates]
        off_logit = (dim + 1) * U * of_logit
        # A sigmoid near 1 is rounded by u, which remains where 1 is subtracted from it.
        g = np.where(real, rate * np.abs(p - y), 0.0)
        off_g = np.where(real, rate * (p * (1 - p) * off_logit + FEW * U * np.maximum(p, y)), 0.0)
        loss = np.where(real, np.logaddexp(0, made.logits) - y * made.logits, 0.0)
        # A softplus is a greatest number and a logarithm near 1, each of them rounded.
        off_loss = np.where(real, np.abs(p - y) * off_logit + FEW * U * (1 + np.abs(made.logits)), 0.0)
        value += rate * float((off_loss + (real.sum() + FEW) * U * loss).sum())
        terms[:, view] += real.sum(1)
        size_views[:, view] += np.einsum("bc,bcd->bd", g, weights)
        off_views[:, view] += np.einsum("bc,bcd->bd", off_g, weights)
        rows = len(cascade.weights[level])
        n, size, off = np.zeros(rows), np.zeros((rows, dim + 1)), np.zeros((rows, dim + 1))
        x = np.concatenate([f, np.ones((batch, 1))], axis=1)  # the bias is a weight of an input of 1
        for b in range(batch):
            at = made.candidates[b]
            np.add.at(n, at, real[b])
            np.add.at(size, at, g[b][:, None] * x[b])
            np.add.at(off, at, off_g[b][:, None] * x[b])
        table = (off + (n[:, None] + FEW) * U * (size + off))[:-1]
        d_weights.append(table[:, :-1])
        d_biases.append(table[:, -1])
    d_views = off_views + (terms[:, :, None] + FEW) * U * (size_views + off_views)
    return Bounds(value + FEW * U * abs(value), d_views, d_weights, d_biases)


def within(found: Tensor, expected: np.ndarray, bound: np.ndarray) -> None:
    """AssertionError where a number is farther from the right one than rounding explains."""
    assert "float32" in str(found.dtype)
    error = np.abs(found.detach().double().numpy() - expected)
    assert (error <= bound).all(), f"{(error / np.maximum(bound, 1e-300)).max():.3g} times what rounding explains"
