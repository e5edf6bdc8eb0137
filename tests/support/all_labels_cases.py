"""Small dense layers, their embeddings and positives, for tests of losses over all labels."""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.kernels.all_labels.all_labels_loss import all_labels_loss
from megalabel.kernels.updates.sgd_rule import SGDRule
from megalabel.types import Positives

SHAPES = [(1, 1, 1), (1, 53, 5), (7, 53, 5), (7, 1, 3), (3, 300, 17)]  # texts, labels, width
CHUNKS = [1, 8, 53, 1000, None]


def problem(
    shape: tuple[int, int, int], seed: int, dtype: torch.dtype = torch.float64, bias: bool = True
) -> tuple[Tensor, Tensor, Tensor | None, Positives]:
    n, n_labels, dim = shape
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=random, dtype=dtype).requires_grad_()
    weight = torch.randn(n_labels, dim, generator=random, dtype=dtype).requires_grad_()
    b = torch.randn(n_labels, generator=random, dtype=dtype).requires_grad_() if bias else None
    pairs = (torch.rand(n, n_labels, generator=random) < 0.2).nonzero()
    return x, weight, b, Positives.from_pairs(pairs[:, 0], pairs[:, 1])


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def loss_and_gradients(x: Tensor, weight: Tensor, bias: Tensor, positives: Positives) -> list[Tensor]:
    """The mean loss, and its gradients with respect to x, weight and bias."""
    leaves = [part.detach().requires_grad_() for part in (x, weight, bias)]
    value = all_labels_loss(*leaves, positives, scale=1 / (len(x) * len(weight)))
    return [value.detach(), *torch.autograd.grad(value, leaves)]


def widened(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.double()


class Inherited(SGDRule):
    """A rule without a kernel of its own: it updates by itself."""


class Parts:
    """The fields of the table of Triton's kernels, which the test process cannot import."""

    def __init__(self, codes: Tensor, exponents: Tensor | None, bits: int) -> None:
        self.codes, self.exponents, self.bits = codes, exponents, bits
