"""Reads the JSON bodies of requests, and checks their values one by one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from megalabel.serving.refusal import Refusal, invalid

Check = Callable[[str, Any], Any]  # a value, given its key; Refusal with 422 for a wrong one


def json_object(body: bytes) -> dict[str, Any]:
    """The object in a body; Refusal with 400 where it is no JSON, and 422 where it is something else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refusal(400, f"the body is not JSON in UTF-8: {reason:.200}") from None
    if not isinstance(found, dict):
        raise invalid("the body", found, "a JSON object")
    return found


def json_bytes(value: Any) -> bytes:
    """A value as JSON in UTF-8; halves of surrogate pairs become JSON's escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def checked(body: dict[str, Any], checks: Mapping[str, Check], required: Collection[str] = ()) -> dict[str, Any]:
    """The values of a body that are not null, each as its check returns it.

    Raises:
        Refusal: 422 for a key without a check, which may be misspelled, for a wrong value, and for a missing one.
    """
    found = {}
    for key, value in body.items():
        check = checks.get(key)
        if check is None:
            raise invalid("the body", key, f"one of its keys, which are {', '.join(checks)}")
        if value is not None:
            found[key] = check(key, value)
    for key in required:
        if key not in found:
            raise Refusal(422, f"{key}: it is missing")
    return found


def text(key: str, found: Any) -> str:
    """A string."""
    if not isinstance(found, str):
        raise invalid(key, found, "a string")
    return found


def flag(key: str, found: Any) -> bool:
    """True or false."""
    if not isinstance(found, bool):
        raise invalid(key, found, "true or false")
    return found


def whole(low: int, high: int) -> Callable[[str, Any], int]:
    """A whole number from `low` to `high`."""

    def check(key: str, found: Any) -> int:
        if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
            raise invalid(key, found, f"a whole number from {low:,} to {high:,}")
        return found

    return check


def number(key: str, found: Any) -> float:
    """A finite number."""
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise invalid(key, found, "a number")
    try:
        number = float(found)
    except OverflowError:  # of a whole number with hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise invalid(key, found, "a finite number")
    return number


def texts(most: int) -> Callable[[str, Any], list[str]]:
    """A list of strings."""

    def check(key: str, found: Any) -> list[str]:
        if not isinstance(found, list):
            raise invalid(key, found, "a list of strings")
        if len(found) > most:
            raise invalid(key, f"a list of {len(found):,}", f"a list of {most:,} strings at most")
        for i, one in enumerate(found):
            if not isinstance(one, str):
                raise invalid(f"{key}[{i}]", one, "a string")
        return found

    return check
