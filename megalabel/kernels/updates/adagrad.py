"""Row-wise Adagrad on tensors: the torch implementation, for a whole table or for some of its rows."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.updates.sgd import check_rates, rescale


class AdagradSettings(NamedTuple):
    """The hyperparameters of row-wise Adagrad.

    Attributes:
        lr: the learning rate, 0 or more.
        eps: added to the square root of a row's accumulator, above 0.
        weight_decay: decoupled from the gradient, 0 or more.
    """

    lr: float
    eps: float = 1e-8
    weight_decay: float = 0.0

    @property
    def keep(self) -> float:
        """The factor 1 − lr · weight_decay of the parameter in a step."""
        return 1 - self.lr * self.weight_decay

    def check(self) -> None:
        """Raises SettingError if a number is out of range."""
        check_rates(self.lr, self.weight_decay)
        if not 0 < self.eps < math.inf:
            raise SettingError(
                f"eps={self.eps}", wanted="a finite number above 0", next_step="leave it at 1e-8", where="eps"
            )


def adagrad_step_(parameter: Tensor, total: Tensor, gradient: Tensor, settings: AdagradSettings) -> None:
    """One step of row-wise Adagrad, in place.

        total     ← total + mean of gradient² over the row
        parameter ← (1 − lr · weight_decay) · parameter − lr · gradient / (√total + eps)

    It is Adagrad (Duchi, Hazan and Singer, 2011) with one accumulator per row in place of one per weight, as the
    embedding tables of DLRM are trained (Naumov et al., arXiv 1906.00091; `EXACT_ROWWISE_ADAGRAD` of FBGEMM), with
    decoupled weight decay. Where the entries of a gradient are of one size, it is Adagrad.

    Args:
        parameter: (n, D).
        total: (n,), the accumulators, initially 0.
        gradient: (n, D).
        settings: the hyperparameters.
    """
    total.add_(gradient.square().mean(1))
    rates = total.sqrt().add_(settings.eps).reciprocal_().mul_(settings.lr)
    rescale(parameter, settings.keep).sub_(gradient * rates[:, None])
