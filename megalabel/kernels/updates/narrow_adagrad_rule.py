"""Row-wise Adagrad for weights in a narrow type: computed in float32, then rounded stochastically."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from megalabel.kernels.core.dtypes import BFLOAT16, FLOAT8
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.kernels.updates.adagrad_rule import AdagradRule
from megalabel.kernels.updates.rule import LabelRows, StepContext, buffer_like


@dataclass
class NarrowAdagradRule(AdagradRule):
    """`AdagradRule` for weights in bfloat16 or float8.

        weight ← R((1 − lr · weight_decay) · weight − lr · gradient / (√total + eps))

    R is stochastic rounding (`kernels/rounding/stochastic_rounding.py`), so that updates and weight decay far
    below the spacing of the type act in expectation. Accumulators and sums of gradients are float32. Only one
    chunk of weights exists in float32 at a time.

    Attributes:
        seed: seeds the rounding; heads with the same seed round alike.
        roundings: the number of micro-batches so far, saved in checkpoints: a resumed run rounds as it would have.
        first_row: the number of the first label, where the head holds some labels of a larger one.
    """

    seed: int = 0
    roundings: int = 0
    first_row: int = 0

    KEPT: ClassVar[tuple[str, ...]] = (*AdagradRule.KEPT, "roundings")
    WEIGHT_DTYPES: ClassVar[tuple[torch.dtype, ...]] = (torch.float32, BFLOAT16.dtype, FLOAT8.dtype)

    def prepare(self, weight: Tensor | None, bias: Tensor | None, step: StepContext) -> None:
        """Counts the micro-batch, and allocates missing buffers, filled with zeros."""
        self.roundings += 1
        self.total = buffer_like(None if weight is None else weight[:, 0], self.total, torch.float32)
        self.bias_total = buffer_like(bias, self.bias_total)
        if not step.single:
            self.gradient = buffer_like(weight, self.gradient, torch.float32)
            self.bias_gradient = buffer_like(bias, self.bias_gradient)

    @property
    def weight_draw(self) -> Draw:
        """The random numbers of the weights in this micro-batch."""
        return Draw(self.seed, self.roundings, self.first_row)

    def _move(self, p: Tensor, labels: LabelRows, g: Tensor, step: StepContext) -> None:
        if labels.table is None:
            super()._move(p, labels, g, step)
            return
        assert labels.values is not None
        super()._move(labels.values, labels, g, step)
        if step.last:
            labels.table.store(labels.start, labels.values, self.weight_draw)
