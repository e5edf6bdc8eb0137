"""How the learning rates move over a run: plain functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from megalabel.errors import SettingError


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up, then half a cosine to zero (Renée; its code, not its appendix, which says linear).

    Args:
        steps: optimiser steps in the whole run; micro-batches do not count.
        warmup: steps of warm-up, or a share of all steps where below 1.
    """

    steps: int
    warmup: float

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps < max(self.steps, 1):
            raise SettingError(
                f"warmup = {self.warmup:g} is {self.warmup_steps} of {self.steps} steps",
                wanted="a warm-up shorter than the run",
                next_step="lower it, give a share such as 0.05, or raise epochs",
            )

    @property
    def warmup_steps(self) -> int:
        """The warm-up in steps."""
        return int(self.warmup * self.steps) if self.warmup < 1 else int(self.warmup)

    def __call__(self, step: int) -> float:
        """The factor in (0, 1] of every learning rate at a step, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        return 0.5 * (1.0 + math.cos(math.pi * done))
