"""Amounts as people write them, such as "2.8M" labels and "8GiB", and as they are printed."""

from __future__ import annotations

import math
import re

from megalabel.errors import SettingError

COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
BYTES = {
    "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
    "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40,
}  # fmt: skip
MOST = 1e15
# Commas and underscores separate thousands only, so that "2,8M" is refused and not read as 28 million.
_AMOUNT = re.compile(r"\s*((?:[0-9]{1,3}(?:[_,][0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:e[0-9]+)?)\s*([A-Za-z]*)\s*")


def count(name: str, value: str | int | float) -> int:
    """A number of things, such as "2.8M", "131,073" or 4000; SettingError unless it is 1 or more."""
    number = _amount(value, COUNTS)
    if number is None or not 1 <= number < MOST:
        wanted = "a whole number of at least 1, such as 131073 or 2.8M"
        raise SettingError(f"{value!r} is not {wanted}", wanted=wanted, where=name)
    return round(number)


def size(name: str, value: str | int | float) -> int:
    """A number of bytes, such as "8GiB", "500MB" or 8e9; SettingError unless it is above 0."""
    number = _amount(value, {**BYTES, "": 1.0})
    if number is None or not 1 <= number < MOST:
        units = "KB, MB, GB, KiB, MiB or GiB"
        wanted = "a number of bytes above 0, or one with a unit, such as 8GiB"
        raise SettingError(f"{value!r} is not {wanted}", wanted=wanted, next_step=f"units are {units}", where=name)
    return int(number)


def shown(n_bytes: float) -> str:
    """Bytes with a binary unit and three digits, such as "2.75 GiB"."""
    for unit, factor in (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10)):
        if n_bytes >= 0.9995 * factor:
            number = n_bytes / factor
            return f"{number:.0f} {unit}" if number >= 99.95 else f"{number:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"


def duration(seconds: float) -> str:
    """A time in the unit that suits it, such as "3.2 h"."""
    for unit, factor in (("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= (2 * factor if unit != "ms" else 0):
            return f"{seconds / factor:,.3g} {unit}"
    return f"{seconds:.3g} s"


def _amount(value: str | int | float, units: dict[str, float]) -> float | None:
    if isinstance(value, bool):
        return None
    found = _AMOUNT.fullmatch(str(value))
    if found is None or found[2].casefold() not in units:
        return None
    number = float(found[1].replace(",", "").replace("_", "")) * units[found[2].casefold()]
    return number if math.isfinite(number) else None
