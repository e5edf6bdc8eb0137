"""Ends a training of a search when its time is over, or as soon as its speed shows that it cannot end in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from megalabel.tuning.history import History

SURE = 10  # steps after the first one from which the time of a training is estimated
LATER = 0.25  # of the steps, after which the time that they take is known well
LATE, TOO_LATE = 1.25, 1.1  # a training that would take so many times its limit is stopped, before and after that


class OutOfTime(Exception):
    """A trial cannot be finished within its time; the message says what it would take.

    needed: the seconds of the whole training, if its speed shows them; else 0.
    """

    def __init__(self, message: str, needed: float = 0.0) -> None:
        super().__init__(message)
        self.needed = needed


def watch(history: History, steps: int, deadline: float, made_at: float) -> Callable[[dict[str, Any]], bool]:
    """A callback of `train` that ends a training at its deadline, or raises OutOfTime where it is hopeless.

    A training without a validation has no model yet. It goes on beyond its deadline where little is missing.

    Args:
        history: whose clock is read.
        steps: the steps of the training.
        deadline: on the clock.
        made_at: when the preparation of texts began, which comes before the first step.
    """
    begun, first, validated = history.elapsed, -1, False

    def callback(line: dict[str, Any]) -> bool:
        nonlocal begun, first, validated
        if first < 0:  # what comes before the first step, such as compiling, is not repeated
            begun, first = history.elapsed, line["step"]
        validated = validated or "validation" in line
        done, now = line["step"] - first, history.elapsed
        if validated:
            return now > deadline
        if done >= SURE:
            needed = (now - begun) / done * (steps - line["step"])
            allowed = (LATE if done < LATER * steps else TOO_LATE) * (deadline - begun)
            if now - begun + needed > allowed:
                seconds = now - begun + needed
                raise OutOfTime(f"{steps:,} steps would take {seconds:,.0f} s", seconds)
        elif now > deadline:
            raise OutOfTime(f"{now - made_at:,.0f} s for the preparation and {done:,} of {steps:,} steps")
        return False

    return callback
