"""SGD on tensors: the torch implementation, and the scaled sums that it uses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from megalabel.errors import SettingError


def check_rates(lr: float, weight_decay: float) -> None:
    """Raises SettingError unless both are finite numbers of 0 or more."""
    if not (0 <= lr < math.inf and 0 <= weight_decay < math.inf):
        raise SettingError(
            f"lr={lr}, weight_decay={weight_decay}",
            wanted="finite numbers of 0 or more",
            next_step="check the learning rate, weight decay and schedule options",
            where="lr",
        )


def sgd_step_(parameter: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
    """parameter ← (1 − lr · weight_decay) · parameter − lr · gradient, in place."""
    rescale(parameter, 1 - lr * weight_decay).add_(gradient, alpha=-lr)


def momentum_step_(parameter: Tensor, buffer: Tensor, lr: float, weight_decay: float) -> None:
    """buffer ← buffer + weight_decay · parameter, then parameter ← parameter − lr · buffer, in place.

    The buffer must already contain momentum · buffer + gradient. Weight decay is coupled: it is added to the
    buffer.
    """
    if weight_decay:
        buffer.add_(parameter, alpha=weight_decay)
    parameter.sub_(buffer, alpha=lr)


def rescale(x: Tensor, keep: float) -> Tensor:
    """x ← keep · x, in place; for keep = 0 all values become 0, NaN included."""
    if keep == 0:
        return x.zero_()
    return x if keep == 1 else x.mul_(keep)


def add_product(into: Tensor, a: Tensor, b: Tensor, keep: float, times: float) -> None:
    """into ← keep · into + times · a b; a single fused product if the dtypes agree."""
    if into.dtype == a.dtype:
        torch.addmm(into, a, b, beta=keep, alpha=times, out=into)
    else:
        rescale(into, keep).add_(torch.mm(a, b), alpha=times)
