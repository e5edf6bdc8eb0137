"""A schedule with scaled learning rates, to resume a training that has diverged."""

from __future__ import annotations

from dataclasses import dataclass

from megalabel.training.optim.schedule import Schedule


@dataclass(frozen=True)
class Scaled:
    """`schedule` with every learning rate multiplied by `scale`; β₁ is not changed.

    Args:
        schedule: the schedule of the recipe.
        scale: the factor, above 0.
    """

    schedule: Schedule
    scale: float

    def __call__(self, step: int) -> float:
        """The factor of every learning rate at a step."""
        return self.schedule(step) * self.scale

    def beta1(self, step: int) -> float | None:
        """β₁ at a step, as in the schedule."""
        return self.schedule.beta1(step)
