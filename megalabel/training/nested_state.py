"""Nested states of optimizers as JSON and a flat dictionary of tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def without_tensors(value: Any, at: str, tensors: dict[str, Tensor]) -> Any:
    """Converts a nested state to JSON; moves its tensors to `tensors`, named by their path."""
    if isinstance(value, Tensor):
        tensors[at] = value
        return {"tensor": at}
    if isinstance(value, dict):
        return {"dict": [[k, without_tensors(v, f"{at}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [without_tensors(v, f"{at}/{i}", tensors) for i, v in enumerate(value)]}
    return {"value": value}


def with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The nested state that `without_tensors` has converted."""
    (kind, inside), *_ = value.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "dict":
        return {k: with_tensors(v, tensors) for k, v in inside}
    if kind == "list":
        return [with_tensors(v, tensors) for v in inside]
    return inside


def merged(first: Any, other: Any) -> Any:
    """The state of two processes: that of the first, with what only the other one has, such as later tensors.

    Of two numbers that differ, such as counts of steps, the larger one counts: without labels there is none.
    """
    if "dict" in first and "dict" in other:
        both, more = dict(map(tuple, first["dict"])), dict(map(tuple, other["dict"]))
        common = {k: merged(both[k], more[k]) for k in both if k in more}
        return {"dict": [[k, v] for k, v in {**more, **both, **common}.items()]}
    if "list" in first and "list" in other and len(first["list"]) == len(other["list"]):
        return {"list": [merged(a, b) for a, b in zip(first["list"], other["list"], strict=True)]}
    if "value" in first and "value" in other and type(first["value"]) in (int, float):
        return max(first, other, key=lambda one: one["value"])
    return other if "tensor" in other and "tensor" not in first else first
