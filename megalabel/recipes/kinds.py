"""Kinds of numbers that options are, and the error for options that do not fit each other."""

from __future__ import annotations

from typing import Annotated

from megalabel.errors import SettingError
from megalabel.training.option import Constant
from megalabel.training.ranges import FRACTION, Range, at_least

Count = Annotated[int, at_least(1)]
Size = Annotated[int, at_least(0)]  # where 0 turns something off
Nonnegative = Annotated[float, at_least(0)]
Fraction = Annotated[float, FRACTION]
Betas = Annotated[tuple[Annotated[float, Range(0, 1, below=True)], ...], Constant]  # two
Eps = Annotated[float, at_least(1e-45), Constant]
ADAM = (0.9, 0.999)  # PyTorch's betas


def conflict(where: str, found: str, wanted: str) -> SettingError:
    """The error for options that do not fit each other: `where` is the one to change."""
    return SettingError(found, wanted=wanted, where=where)
