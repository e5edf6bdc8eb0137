"""Schedules of the learning rates (and of Adam's β₁ in CascadeXML), as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from megalabel.errors import SettingError


class Schedule(Protocol):
    """The interface that the training loop uses before every step, counted from 0."""

    def __call__(self, step: int) -> float:
        """The factor of every learning rate."""

    def beta1(self, step: int) -> float | None:
        """Adam's β₁, or None to leave it unchanged."""


@dataclass(frozen=True)
class Warmup:
    """Linear warm-up; subclasses define the factor after it.

    Args:
        steps: the number of optimizer steps of the run (not micro-batches).
        warmup: the steps of the warm-up or, if below 1, its fraction of all steps.

    Raises:
        SettingError: the warm-up is not shorter than the run.
    """

    steps: int
    warmup: float

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps < max(self.steps, 1):
            raise SettingError(
                f"a warm-up of {self.warmup_steps:,} steps in a run of {self.steps:,}",
                wanted="a warm-up shorter than the run",
                next_step="lower it, use a fraction such as 0.05, or raise epochs",
                where="warmup",
            )

    @property
    def warmup_steps(self) -> int:
        """The warm-up in steps."""
        return int(self.warmup * self.steps) if self.warmup < 1 else int(self.warmup)

    def __call__(self, step: int) -> float:
        """The factor in (0, 1] of every learning rate at a step, counted from 0."""
        return (step + 1) / (self.warmup_steps + 1) if step < self.warmup_steps else self.after(step)

    def after(self, step: int) -> float:
        """The factor at a step after the warm-up."""
        raise NotImplementedError

    def beta1(self, step: int) -> None:
        """None: β₁ is constant."""
        return None


class WarmupCosine(Warmup):
    """Linear warm-up, then half a cosine to zero (Renée's code; the paper's appendix says linear decay)."""

    def after(self, step: int) -> float:
        """Half a cosine."""
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        return 0.5 * (1.0 + math.cos(math.pi * done))


class WarmupConstant(Warmup):
    """Linear warm-up, then a constant rate, for runs whose late weights are averaged (LightXML)."""

    def after(self, step: int) -> float:
        """The full learning rate."""
        return 1.0


@dataclass(frozen=True)
class ThreePhase:
    """The schedule of CascadeXML's code: rise, constant, fall, with β₁ in the opposite direction.

    The learning rate rises along half a cosine from a tenth of its value over `warmup` epochs, is constant, and
    falls along half a cosine to a thousandth of it over the last `final` epochs. Adam's β₁ falls from 0.95 to 0.85
    during the rise, is constant, and returns during the fall.

    Args:
        steps: the number of optimizer steps of the run (not micro-batches).
        per_epoch: steps per epoch.
        warmup: epochs of the rise.
        final: epochs of the fall.
    """

    steps: int
    per_epoch: int
    warmup: float = 1
    final: float = 3

    def __post_init__(self) -> None:
        rise, fall = self._ends
        if not 0 <= rise <= fall <= self.steps:  # also true for NaN
            raise SettingError(
                f"a warm-up of {self.warmup:g} and a decline of {self.final:g} epochs in a run of "
                f"{self.steps / max(self.per_epoch, 1):g}",
                wanted="both together no longer than the run",
                next_step='raise epochs, lower warmup_epochs or final_epochs, or use schedule "cosine"',
            )

    @property
    def _ends(self) -> tuple[float, float]:
        """The step at which the rise ends, and the one at which the fall begins."""
        return self.warmup * self.per_epoch, self.steps - self.final * self.per_epoch

    def _height(self, step: int) -> tuple[float, float]:
        """The relative height between the two ends, from 0 to 1, and the value of the lower end."""
        rise, fall = self._ends
        if step < rise:
            return 0.5 * (1 - math.cos(math.pi * step / rise)), 0.1
        if step <= fall:
            return 1.0, 0.1
        return 0.5 * (1 + math.cos(math.pi * (step - fall) / (self.steps - fall))), 0.001

    def __call__(self, step: int) -> float:
        """The factor in (0, 1] of every learning rate at a step."""
        height, low = self._height(step)
        return low + (1 - low) * height

    def beta1(self, step: int) -> float:
        """β₁ at a step: 0.85 at the highest rate, 0.95 at both ends."""
        return 0.95 - 0.1 * self._height(step)[0]
