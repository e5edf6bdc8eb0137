"""When a training of a search is ended, on a clock of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from megalabel.tuning.watch import OutOfTime, watch

STEPS = 100


def trained(
    limit: float, seconds_per_step: Any, *, preparation: float = 0.0, validated_at: int | None = None
) -> tuple[int, float]:
    """The step after which the callback ended a training, and its time: the last step if it did not."""
    clock: Any = SimpleNamespace(elapsed=preparation)
    callback = watch(clock, STEPS, limit, 0.0)
    for step in range(1, STEPS + 1):
        clock.elapsed += seconds_per_step(step)
        line = {"step": step} | ({"validation": {}} if step == validated_at else {})
        if callback(line):
            return step, clock.elapsed
    return STEPS, clock.elapsed


def test_a_training_in_time_is_not_ended() -> None:
    assert trained(110, lambda step: 1.0) == (STEPS, 100)


def test_after_a_validation_it_ends_at_its_deadline() -> None:
    assert trained(60, lambda step: 1.0 if step > 50 else 0.1, validated_at=40)[0] == STEPS  # 55 s
    step, seconds = trained(30, lambda step: 1.0 if step > 50 else 0.1, validated_at=40)
    assert step == 76 and seconds == pytest.approx(31)


def test_without_one_it_goes_on_while_little_is_missing() -> None:
    assert trained(93, lambda step: 1.0)[0] == STEPS  # 1.07 times the limit


@pytest.mark.parametrize(("limit", "latest"), [(70, 12), (85, 27)])
def test_a_training_that_takes_too_long_is_stopped_soon(limit: float, latest: int) -> None:
    steps = []
    with pytest.raises(OutOfTime, match="100 steps would take") as caught:
        trained(limit, lambda step: steps.append(step) or 1.0)
    assert len(steps) <= latest
    assert caught.value.needed == pytest.approx(99)


def test_a_training_that_slows_down_is_stopped() -> None:
    with pytest.raises(OutOfTime, match="100 steps would take"):
        trained(110, lambda step: 1.0 if step < 50 else 3.0)


def test_a_preparation_beyond_the_deadline_is_named() -> None:
    with pytest.raises(OutOfTime, match="31 s for the preparation and 0 of 100 steps") as caught:
        trained(20, lambda step: 1.0, preparation=30.0)
    assert caught.value.needed == 0
