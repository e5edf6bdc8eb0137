"""Reads the JSON bodies of requests, and checks their values one by one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from megalabel.serving.refusal import Refusal, invalid

T = TypeVar("T")


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


def known_keys(body: dict[str, Any], keys: Collection[str]) -> None:
    """Refuses keys that a request does not have, which may be misspelled."""
    for key in body:
        if key not in keys:
            raise invalid("the body", key, f"one of its keys, which are {', '.join(keys)}")


def text_of(body: dict[str, Any], key: str) -> str:
    """A required string."""
    return value_of(body, key, text, required=True)


def value_of(body: dict[str, Any], key: str, check: Callable[[str, Any], T], *, required: bool = False) -> Any:
    """The checked value of a key; None where it is missing or null."""
    found = body.get(key)
    if found is None:
        if required:
            raise Refusal(422, f"{key}: it is missing")
        return None
    return check(key, found)


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
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        raise invalid(key, found, "a number")
    return float(found)


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
