"""Gradients of tables, and optimizer steps on their rows as loops in float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from support.candidate_cases import Case, slow_bce
from torch import Tensor

from megalabel.kernels.candidates.candidate_scores import candidate_bce
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.candidates.row_step import adam_state, row_adam, row_sgd

DTYPES = [torch.float32, torch.float64]  # numba, and the plain version
MOMENTS = ("mean", "square", "bias_mean", "bias_square", "steps")


def gradient_of(c: Case, dtype: torch.dtype = torch.float32) -> TableGradient:
    views, weight, bias = c.of(dtype)
    return candidate_bce(views, weight, bias, c.candidates, c.positives, 1.0)[2]


class SlowAdam:
    """Lazy AdamW as a loop over single numbers in float64."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.table = np.concatenate([weight.double().numpy(), bias.double().numpy()[:, None]], axis=1)
        self.mean, self.square = np.zeros_like(self.table), np.zeros_like(self.table)
        self.steps = [0] * len(weight)

    def step(
        self, gradient: np.ndarray, rows: set[int], lr: float, betas: tuple[float, float], eps: float, decay: float
    ) -> None:
        last = self.table.shape[1] - 1
        for row in rows:
            self.steps[row] += 1
            for d in range(last + 1):
                g = gradient[row, d]
                m = self.mean[row, d] = betas[0] * self.mean[row, d] + (1 - betas[0]) * g
                v = self.square[row, d] = betas[1] * self.square[row, d] + (1 - betas[1]) * g * g
                m, v = m / (1 - betas[0] ** self.steps[row]), v / (1 - betas[1] ** self.steps[row])
                if d < last:
                    self.table[row, d] *= 1 - lr * decay
                self.table[row, d] -= lr * m / (math.sqrt(v) + eps)


def touched(*cases: Case) -> set[int]:
    return {row for c in cases for own in c.blocks for start, end in own for row in range(start, end)}


def slow_gradient(*cases: Case) -> np.ndarray:
    parts = [slow_bce(c, 1.0) for c in cases]
    return sum(np.concatenate([part.weight, part.bias[:, None]], axis=1) for part in parts)


def row_step(kind: str, weight: Tensor, bias: Tensor | None, gradients: list[TableGradient]) -> list[Tensor]:
    """Clones of weight, bias and state after a step of Adam or SGD."""
    weight, bias = weight.clone(), None if bias is None else bias.clone()
    state = adam_state(weight, bias)
    if kind == "adam":
        row_adam(weight, bias, state, gradients, 0.1, weight_decay=0.1)
    else:
        row_sgd(weight, bias, gradients, 0.1, 0.1)
    return [weight, *([] if bias is None else [bias]), *state.values()]
