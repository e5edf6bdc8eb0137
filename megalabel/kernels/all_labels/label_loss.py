"""Losses of one logit for each text and label, summed: their definition, their value and their gradient.

    bce             softplus(z) − y z               dz = sigmoid(z) − y          y = 1 on the positives, else 0
    squared_hinge   max(0, 1 − s z)²                dz = −2 s max(0, 1 − s z)    s = 1 on the positives, else −1

Always sums over texts and labels; who wants a mean multiplies by 1 / (B·L). The squared hinge is that of
Schultheis and Babbar (ECML 2023); its gradient is exactly 0 where a logit is right by a margin, and a sparse layer
has no more work with it then.

`value_` and `gradient_` work in place on a chunk (n, B) of logits, labels by texts, whose positives are flat
positions, each once (`label_pass.PositiveCells`).
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
    """The definition, z (B, L) to a scalar that autograd differentiates; holds several B×L matrices."""
    check_loss(loss)
    y = torch.zeros_like(z)
    y[positives.rows, positives.labels] = 1
    if loss == "bce":
        return torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum")
    return (1 - (2 * y - 1) * z).clamp_min(0).square().sum()


def gradient_(loss: str, z: Tensor, places: Tensor) -> Tensor:
    """Overwrites the logits z (n, B) of a chunk with the loss's gradient by them, in z's type."""
    flat = z.view(-1)
    if loss == "bce":
        z.sigmoid_()
        if len(places):
            flat.index_add_(0, places, z.new_full((1,), -1.0).expand(len(places)))
        return z
    # With the positives' logits turned round, all are wrong by max(0, 1 + z).
    _negate(flat, places)
    z.add_(1).clamp_min_(0).mul_(2)
    _negate(flat, places)
    return z


def value_(loss: str, z: Tensor, places: Tensor) -> Tensor:
    """The chunk's loss, a float64 scalar; overwrites z (n, B), which is float32 or float64."""
    if loss == "bce":
        ones = z.view(-1)[places].sum(dtype=torch.float64)
        return softplus_sum(z).sub_(ones)
    _negate(z.view(-1), places)
    return z.add_(1).clamp_min_(0).square_().sum(1).sum(dtype=torch.float64)


def softplus_sum(z: Tensor) -> Tensor:
    """Σ softplus(z) = Σ max(z, 0) + Σ log(1 + e^−|z|) as a float64 scalar; overwrites z (n, B).

    Logarithms are dear, so sixteen factors share one: (1 + u)(1 + v) = 1 + (u + v + uv) keeps tiny u exact.
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


def _negate(flat: Tensor, places: Tensor) -> None:
    if len(places):
        flat[places] = flat[places].neg_()
