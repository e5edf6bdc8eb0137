"""SGD for weights or momentum in a narrow type: the update is computed in float32, then rounded stochastically."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.dtypes import BFLOAT16, FLOAT8
from megalabel.kernels.rounding.stochastic_rounding import Draw, store_rows
from megalabel.kernels.updates.rule import LabelRows, StepContext, buffer_like
from megalabel.kernels.updates.sgd import momentum_step_
from megalabel.kernels.updates.sgd_rule import Add, SGDRule

MOMENTUM_DTYPES = (torch.float32, torch.bfloat16)
_WEIGHT, _MOMENTUM, _COMPENSATION = range(3)  # streams of random numbers
_ROWS = 1 << 16  # of compensated labels that are looked at at a time


@dataclass
class NarrowSGDRule(SGDRule):
    """`SGDRule` for weights in bfloat16 or float8, or with momentum in bfloat16.

        buffer ← R(momentum · buffer + gradient + weight_decay · weight)
        weight ← R(weight − lr · buffer)

    R is stochastic rounding (`kernels/rounding/stochastic_rounding.py`), so that updates and weight decay far
    below the spacing of the type act in expectation. Only one chunk of weights exists in float32 at a time.
    Compiled passes fuse the rule; those over dense rows only where nothing is compensated.

    Rows in `compensated` also keep what R cut off (Kahan summation, as ELMO does for its most frequent labels;
    arXiv 2510.11168): u = weight + rest − lr · buffer, weight ← R(u), rest ← u − weight in bfloat16. The forward
    pass reads the weights alone.

    Attributes:
        seed: seeds the rounding; heads with the same seed round alike.
        momentum_dtype: torch.float32 or torch.bfloat16, the dtype of `buffer`.
        compensated: (C,) int64 on the CPU, sorted: the labels whose rows are compensated; None for none.
        compensation: (C, D) bfloat16, what was cut off; saved in checkpoints.
        roundings: the number of micro-batches so far, saved in checkpoints: a resumed run rounds as it would have.
        first_row: the number of the first label, where the head holds some labels of a larger one.
        first_compensated: how many labels before that one are compensated.
    """

    seed: int = 0
    momentum_dtype: torch.dtype = torch.float32
    compensated: Tensor | None = None
    compensation: Tensor | None = None
    roundings: int = 0
    first_row: int = 0
    first_compensated: int = 0

    KEPT: ClassVar[tuple[str, ...]] = (*SGDRule.KEPT, "compensation", "roundings")
    WEIGHT_DTYPES: ClassVar[tuple[torch.dtype, ...]] = (torch.float32, BFLOAT16.dtype, FLOAT8.dtype)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.momentum_dtype not in MOMENTUM_DTYPES:
            raise SettingError(
                f"momentum_dtype={self.momentum_dtype}",
                wanted=" or ".join(map(str, MOMENTUM_DTYPES)),
                next_step="use torch.bfloat16 to save memory",
                where="momentum_dtype",
            )

    def prepare(self, weight: Tensor | None, bias: Tensor | None, step: StepContext) -> None:
        """Counts the micro-batch, and allocates the buffers that it needs and that are missing."""
        self.roundings += 1
        if self.buffered(step):
            if weight is not None:
                self.buffer = buffer_like(weight, self.buffer, self.momentum_dtype)
            self.bias_buffer = buffer_like(bias, self.bias_buffer)
        if self.compensated is not None and weight is not None:
            rows = weight[:1].expand(len(self.compensated), -1)  # the shape alone
            self.compensation = buffer_like(rows, self.compensation, torch.bfloat16)

    def weights_replaced(self, slots: Tensor, group: int) -> None:
        """Drops what was cut off the weights that new ones have replaced."""
        if self.compensated is None or self.compensation is None:
            return
        for labels, rest in zip(self.compensated.split(_ROWS), self.compensation.split(_ROWS), strict=True):
            rest.masked_fill_(slots[(labels // group).to(slots.device)].to(rest.device), 0)

    def _move(self, labels: LabelRows, add_gw: Add, add_gb: Add, step: StepContext) -> None:
        if labels.weight is not None:
            self._move_weight(labels, labels.weight, add_gw, step)
        super()._move(labels._replace(weight=None), add_gw, add_gb, step)

    def _move_weight(self, labels: LabelRows, weight: Tensor, add_gw: Add, step: StepContext) -> None:
        narrow = labels.table is not None
        p = labels.values if narrow else weight[labels.rows]
        assert p is not None
        kept = self._compensated_in(labels) if step.last and narrow else slice(0)
        if kept.stop:
            assert self.compensated is not None and self.compensation is not None
            local = (self.compensated[kept] - labels.start).to(p.device)
            p.index_add_(0, local, self.compensation[kept].float())
        if self.buffered(step):
            self._move_buffered(p, labels, add_gw, step)
        else:
            add_gw(p, 1 - self.lr * self.weight_decay, -self.lr)
        if labels.table is None or not step.last:
            return
        labels.table.store(labels.start, p, self.weight_draw)
        if kept.stop:
            assert self.compensation is not None
            rest = p[local].sub_(labels.table.load(labels.start, labels.stop)[local])
            store_rows(rest, self.compensation[kept], None, BFLOAT16, self.rest_draw, kept.start)

    def _move_buffered(self, p: Tensor, labels: LabelRows, add_gw: Add, step: StepContext) -> None:
        assert self.buffer is not None
        stored = self.buffer[labels.rows]
        m = stored.float()  # the same memory if it is float32
        add_gw(m, self.kept_fraction(step), 1.0)
        if step.last:
            momentum_step_(p, m, self.lr, self.weight_decay)
        if m is not stored:
            store_rows(m, stored, None, BFLOAT16, self.momentum_draw, labels.start)

    def _compensated_in(self, labels: LabelRows) -> slice:
        """Which compensated rows are among these labels; slice(0) if there are none."""
        if self.compensated is None:
            return slice(0)
        ends = torch.searchsorted(self.compensated, torch.tensor([labels.start, labels.stop])).tolist()
        return slice(*ends) if ends[1] > ends[0] else slice(0)

    @property
    def weight_draw(self) -> Draw:
        """The random numbers with which this micro-batch rounds weights."""
        return self._draw(_WEIGHT)

    @property
    def momentum_draw(self) -> Draw:
        """Those with which it rounds momentum."""
        return self._draw(_MOMENTUM)

    @property
    def rest_draw(self) -> Draw:
        """Those with which it rounds what was cut off compensated rows."""
        return self._draw(_COMPENSATION)._replace(first=self.first_compensated)

    def _draw(self, stream: int) -> Draw:
        return Draw((stream << 48) + self.seed, self.roundings, self.first_row)
