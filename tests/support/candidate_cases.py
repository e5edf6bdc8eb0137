"""Small problems over candidates, and their solutions by loops in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.candidates.candidates import Candidates
from megalabel.types import Positives

NONE = Positives(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))


@dataclass
class Case:
    """Views (B, D), weight (n, D), bias (n,), and the blocks of candidate rows of each text."""

    views: Tensor
    weight: Tensor
    bias: Tensor
    blocks: list[list[tuple[int, int]]]
    pairs: set[tuple[int, int]]

    @property
    def candidates(self) -> Candidates:
        return candidates_of(self.blocks)

    @property
    def positives(self) -> Positives:
        return positives_of(self.pairs)

    def of(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        views, weight, bias = (x.to(dtype, copy=True) for x in (self.views, self.weight, self.bias))
        return views.requires_grad_(), weight, bias


def candidates_of(blocks: list[list[tuple[int, int]]]) -> Candidates:
    flat = [block for own in blocks for block in own]
    starts, ends = (torch.tensor([block[i] for block in flat], dtype=torch.int64) for i in (0, 1))
    texts = np.cumsum([0] + [len(own) for own in blocks])
    return Candidates.of_blocks(starts, ends, torch.from_numpy(texts))


def positives_of(pairs: set[tuple[int, int]]) -> Positives:
    if not pairs:
        return NONE
    rows, labels = zip(*pairs, strict=True)
    return Positives.from_pairs(torch.tensor(rows), torch.tensor(labels))


def case(
    seed: int,
    batch: int = 9,
    dim: int = 5,
    nodes: int = 12,
    widest: int = 9,
    share: float = 0.5,
    times: float = 1.0,
) -> Case:
    """Nodes with 1 to `widest` children; each text has random ones as candidates, the second text has none.

    Positives are candidates or other rows; the third text has none.
    """
    rng = np.random.default_rng(seed)
    cuts = np.concatenate([[0], np.cumsum(rng.integers(1, widest + 1, nodes))])
    n = int(cuts[-1])
    blocks: list[list[tuple[int, int]]] = []
    for text in range(batch):
        kept = np.flatnonzero(rng.random(nodes) < share) if text != 1 else []
        blocks.append([(int(cuts[j]), int(cuts[j + 1])) for j in kept])
    pairs = {(b, int(r)) for b in range(batch) if b != 2 for r in rng.integers(0, n, 4)}
    numbers = [torch.from_numpy(rng.standard_normal(shape)) for shape in ((batch, dim), (n, dim), (n,))]
    views, weight, bias = (x.float().double() for x in numbers)  # numbers that are equal in float32 and float64
    return Case(views * times, weight, bias, blocks, pairs)


@dataclass
class Slow:
    """Value, logits and their gradient per cell, and the gradients of views, weight and bias."""

    value: float
    logits: np.ndarray
    cells: np.ndarray
    views: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


def slow_bce(c: Case, scale: float, with_bias: bool = True) -> Slow:
    x, w, b = c.views.numpy(), c.weight.numpy(), c.bias.numpy()
    value, logits, cells = 0.0, [], []
    of_views, of_weight, of_bias = np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for text, own in enumerate(c.blocks):
        for start, end in own:
            for row in range(start, end):
                z = float(sum(x[text] * w[row])) + (float(b[row]) if with_bias else 0.0)
                y = (text, row) in c.pairs
                value += scale * (math.log1p(math.exp(-abs(z))) + max(z, 0.0) - y * z)
                g = scale * (1 / (1 + math.exp(-z)) - y)
                logits.append(z)
                cells.append(g)
                of_views[text] += g * w[row]
                of_weight[row] += g * x[text]
                of_bias[row] += g
    return Slow(value, np.array(logits), np.array(cells), of_views, of_weight, of_bias)


def close(found: Tensor, expected: np.ndarray | Tensor | float) -> None:
    """Asserts equality up to rounding, relative to each number or, as sums may cancel, to the largest."""
    wanted = torch.as_tensor(expected, dtype=torch.float64)
    rounding = 2e-6 if found.dtype == torch.float32 else 1e-12
    most = float(wanted.abs().max()) if wanted.numel() else 0.0
    torch.testing.assert_close(found.detach().double(), wanted, rtol=10 * rounding, atol=rounding * most)
