"""Which values the arguments of recipes may have: one name has one range in every recipe."""

from __future__ import annotations

import math
import numbers
from typing import Any

from megalabel.errors import SettingError

_INF = math.inf
# From the first number to below the second.
RANGES: dict[str, tuple[float, float]] = {
    "vocabulary": (3, _INF),  # padding, unknown, and a token
    "max_length": (1, _INF),
    "epochs": (1, _INF),
    "batch_size": (1, _INF),
    "micro_batches": (1, _INF),
    "dropout": (0, 1),
    "token_dropout": (0, 1),
    "bottleneck": (0, _INF),
    "pairs": (0, _INF),
    "hidden": (0, _INF),
    "head_lr": (0, _INF),
    "head_momentum": (0, 1),
    "head_weight_decay": (0, _INF),
    "head_std": (0, _INF),
    "encoder_lr": (0, _INF),
    "encoder_weight_decay": (0, _INF),
    "token_lr": (0, _INF),
    "warmup": (0, _INF),
    "clip": (0, _INF),
    "loss_every": (1, _INF),
    "validation": (0, 1),
    "patience": (0, _INF),
    "seed": (0, 2**32),
}
_KINDS: dict[str, tuple[type, str]] = {
    "str": (str, "a string"),
    "bool": (bool, "True or False"),
    "int": (numbers.Integral, "a whole number"),
    "float": (numbers.Real, "a number"),
}


def checked(name: str, value: Any, annotation: Any) -> Any:
    """The value as plain Python, if its type is the annotation's and it lies in the name's range.

    SettingError otherwise. An annotation that is none of str, bool, int and float is not judged.
    """
    kind = getattr(annotation, "__name__", annotation)
    if kind not in _KINDS:
        return value
    wanted_type, wanted = _KINDS[kind]
    low, high = RANGES.get(name, (-_INF, _INF))
    fits = isinstance(value, wanted_type) and (kind == "bool" or not isinstance(value, bool))
    if kind in ("int", "float"):
        wanted += (
            {_INF: f", {low:g} or more"}.get(high, f" from {low:g} to below {high:.12g}") if low > -_INF else ""
        )
        fits = fits and math.isfinite(value) and low <= value < high
    if not fits:
        raise SettingError(
            f"{name} = {value!r}", wanted=wanted, next_step=f"correct {name}, or leave it out for its default"
        )
    return value.item() if hasattr(value, "item") else value  # numpy's numbers are no JSON
