"""Losses of one logit per text and label, summed: reference, value and gradient.

    bce             softplus(z) − y z               dz = sigmoid(z) − y          y = 1 on the positives, else 0
    squared_hinge   max(0, 1 − s z)²                dz = −2 s max(0, 1 − s z)    s = 1 on the positives, else −1

Losses are sums over texts and labels; a factor of 1 / (B·L) makes them means. The squared hinge is that of
Schultheis and Babbar (ECML 2023); its gradient is exactly 0 where the margin is met, which a sparse layer
exploits.

Each text may have a weight, a factor of its losses: `Positives.weights`, (B,), or None for 1 each.

`value_` and `gradient_` work in place on a chunk (n, B) of logits, labels by texts, whose positives are given as
distinct flat indices (`label_pass.PositiveCells`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.types import Positives

LOSSES = ("bce", "squared_hinge")


def check_loss(loss: str) -> None:
    """Raises SettingError unless it is one of LOSSES."""
    if loss not in LOSSES:
        raise SettingError(
            f"loss={loss!r}", wanted=" or ".join(LOSSES), next_step="name one of them", where="loss"
        )


def plain(loss: str, z: Tensor, positives: Positives) -> Tensor:
    """The reference implementation, z (B, L) to a scalar with autograd; allocates several B×L matrices."""
    check_loss(loss)
    y = torch.zeros_like(z)
    y[positives.rows, positives.labels] = 1
    if loss == "bce":
        each = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
    else:
        each = (1 - (2 * y - 1) * z).clamp_min(0).square()
    return each.sum() if positives.weights is None else (each * positives.weights.to(z.dtype)[:, None]).sum()


def gradient_(loss: str, z: Tensor, cells: Tensor, weights: Tensor | None = None) -> Tensor:
    """Overwrites the logits z (n, B) of a chunk with the gradient of the loss with respect to them.

    weights: (B,) of the dtype of z, the factors of the texts' losses; None for 1 each.
    """
    _gradient_(loss, z, cells)
    return z if weights is None else z.mul_(weights)


def _gradient_(loss: str, z: Tensor, cells: Tensor) -> Tensor:
    flat = z.view(-1)
    if loss == "bce":
        if z.dtype in (torch.bfloat16, torch.float16):
            own = flat[cells].neg_().sigmoid_().neg_()  # σ(z) − 1: rounded to 8 bits, σ(z) is 1 from z = 6 on
            z.sigmoid_()
            flat[cells] = own
            return z
        z.sigmoid_()
        if len(cells):
            flat.index_add_(0, cells, z.new_full((1,), -1.0).expand(len(cells)))
        return z
    # With the signs of the positives' logits flipped, the loss of every cell is max(0, 1 + z)².
    _negate(flat, cells)
    z.add_(1).clamp_min_(0).mul_(2)
    _negate(flat, cells)
    return z


def value_(loss: str, z: Tensor, cells: Tensor, weights: Tensor | None = None) -> Tensor:
    """The loss of the chunk, a float64 scalar; overwrites z (n, B), which is float32 or float64.

    weights: (B,), the factors of the texts' losses; None for 1 each.
    """
    if weights is not None:
        return _losses(loss, z, cells).sum(0, dtype=torch.float64) @ weights.double()
    if loss == "bce":
        ones = z.view(-1)[cells].sum(dtype=torch.float64)
        return softplus_sum(z).sub_(ones)
    _negate(z.view(-1), cells)
    return z.add_(1).clamp_min_(0).square_().sum(1).sum(dtype=torch.float64)


def softplus_sum(z: Tensor) -> Tensor:
    """Σ softplus(z) = Σ max(z, 0) + Σ log(1 + e^−|z|) as a float64 scalar; overwrites z (n, B).

    Logarithms are expensive, so sixteen factors share one: (1 + u)(1 + v) = 1 + (u + v + uv) is exact for tiny u.
    """
    total = z.clamp_min(0).sum(1).sum(dtype=torch.float64)
    u = z.abs_().neg_().exp_()
    folded, rest = u[: len(u) // 16 * 16], u[len(u) // 16 * 16 :]
    for _ in range(4):
        a, b = folded.chunk(2) if len(folded) else (folded, folded)
        folded = torch.addcmul(a + b, a, b)
    for part in (folded, rest):
        total += part.log1p_().sum(1).sum(dtype=torch.float64)
    return total


def _losses(loss: str, z: Tensor, cells: Tensor) -> Tensor:
    """The loss of each cell: (n, B)."""
    if loss == "bce":
        each = z.clamp_min(0).add_(z.abs().neg_().exp_().log1p_())
        each.view(-1)[cells] -= z.view(-1)[cells]
        return each
    _negate(z.view(-1), cells)
    return z.add_(1).clamp_min_(0).square_()


def _negate(flat: Tensor, cells: Tensor) -> None:
    if len(cells):
        flat[cells] = flat[cells].neg_()
