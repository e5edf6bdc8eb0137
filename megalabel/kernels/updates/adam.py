"""AdamW on tensors: the torch implementation, for a whole parameter or for some of its rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.updates.sgd import check_rates, rescale


class AdamSettings(NamedTuple):
    """The hyperparameters of AdamW.

    Attributes:
        lr: the learning rate, 0 or more.
        betas: decay rates of the first and the second moment, each from 0 to below 1.
        eps: added to the square root of the bias-corrected second moment, above 0.
        weight_decay: decoupled from the gradient, 0 or more.
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    @property
    def keep(self) -> float:
        """The factor 1 − lr · weight_decay of the parameter in a step."""
        return 1 - self.lr * self.weight_decay

    def rate(self, steps: int) -> float:
        """The factor lr / (1 − β₁ᵗ) of mean / (√square / root + eps) in step t = `steps`."""
        return self.lr / (1 - self.betas[0] ** steps)

    def root(self, steps: int) -> float:
        """The divisor √(1 − β₂ᵗ) of √square in step t = `steps`."""
        return math.sqrt(1 - self.betas[1] ** steps)

    def check(self) -> None:
        """Raises SettingError if a number is out of range."""
        check_rates(self.lr, self.weight_decay)
        if not (all(0 <= beta < 1 for beta in self.betas) and 0 < self.eps < math.inf):
            raise SettingError(
                f"betas={self.betas}, eps={self.eps}",
                wanted="betas from 0 to below 1 and eps above 0",
                next_step="leave them at (0.9, 0.999) and 1e-8",
                where="betas",
            )


def adam_step_(
    parameter: Tensor, mean: Tensor, square: Tensor, gradient: Tensor, steps: int | Tensor, settings: AdamSettings
) -> None:
    """One step of AdamW in place (Kingma and Ba, 2015; decoupled decay: Loshchilov and Hutter, 2019).

        parameter ← (1 − lr · weight_decay) · parameter
        mean      ← mean + (1 − β₁) (gradient − mean)
        square    ← β₂ · square + (1 − β₂) gradient²
        parameter ← parameter − lr · (mean / (1 − β₁ᵗ)) / (√(square / (1 − β₂ᵗ)) + eps)

    Args:
        parameter: (n, …).
        mean: the first moment, of the parameter's shape.
        square: the second moment, of the same shape.
        gradient: of the same shape.
        steps: t, including this step: an int for the whole parameter, or a floating-point tensor (n,) if rows have
            taken different numbers of steps. An int is folded into the factors of the last line, which saves two
            passes over the memory.
        settings: the hyperparameters.
    """
    beta1, beta2 = settings.betas
    rescale(parameter, settings.keep)
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    if isinstance(steps, int):
        move = torch.sqrt(square).div_(settings.root(steps)).add_(settings.eps)
        parameter.addcdiv_(mean, move, value=-settings.rate(steps))
        return
    shape = (-1, *[1] * (parameter.ndim - 1)) if parameter.ndim else ()
    of_mean, of_square = ((1 - beta**steps).to(parameter.dtype).reshape(shape) for beta in settings.betas)
    move = (square / of_square).sqrt_().add_(settings.eps)
    parameter.add_(torch.div(mean, move, out=move).div_(of_mean).mul_(-settings.lr))
