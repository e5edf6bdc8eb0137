"""Row-wise Adagrad for numba: the rate of a row, with which its weights then move as in SGD."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from megalabel.kernels.core._cpu.compiling import scalar
from megalabel.kernels.updates.adagrad import AdagradSettings


class AdagradNumbers(NamedTuple):
    """The hyperparameters as float32 numbers for compiled code."""

    lr: np.float32
    eps: np.float32
    keep: np.float32  # 1 − lr · weight decay


def adagrad_numbers(settings: AdagradSettings) -> AdagradNumbers:
    """The numbers of a step, each computed in double precision and rounded once."""
    return AdagradNumbers(*map(np.float32, (settings.lr, settings.eps, settings.keep)))


@scalar
def row_rate(total, numbers):
    """The factor of a row's gradient, given its accumulator after this step."""
    return numbers.lr / (np.sqrt(total) + numbers.eps)
