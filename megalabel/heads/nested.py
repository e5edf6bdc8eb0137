"""Heads inside of heads: how a wrapper writes them into its settings, and builds them again."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from megalabel.errors import FormatError, SettingError
from megalabel.heads.base import Head

ROOM = "megalabel.heads"


def described(head: Head) -> dict[str, Any]:
    """A head's class and settings, as JSON."""
    return {"class": f"{type(head).__module__}:{type(head).__qualname__}", "settings": head.settings()}


def built(description: Any) -> Head:
    """The head that `described` told of, its weights still to be loaded.

    Settings may come from anywhere, so they import nothing but modules under `megalabel.heads`. A class of another
    module is taken if the program has imported that already.

    Raises:
        FormatError: something else than a description, or a class that is no head or is not there.
    """
    try:
        name, settings = description["class"], description["settings"]
        module, _, qualified = name.partition(":")
    except (AttributeError, KeyError, TypeError) as error:
        raise _wrong(f"{description!r:.100} where a head is described") from error
    if module == ROOM or module.startswith(f"{ROOM}."):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise _wrong(f"{name} is not there ({error})") from error
    elif module not in sys.modules:
        raise FormatError(
            f"the inner head {name}, code that is not megalabel's",
            wanted="a head of megalabel, or one that is imported",
            next_step=f"import {module} before you load the model, if you trust it",
        )
    found = getattr(sys.modules[module], qualified, None)
    if not (isinstance(found, type) and issubclass(found, Head)):
        raise _wrong(f"{name} is no head")
    return found.from_settings(settings)


def check_inside(head: Head) -> None:
    """SettingError where a head would be another one after training, which must stand outside."""
    if head.served() is not head:
        raise SettingError(
            f"{type(head).__name__} inside another head",
            wanted="a head that stays as it is after training",
            next_step=f"put {type(head).__name__} around the whole",
        )


def _wrong(found: str) -> FormatError:
    return FormatError(
        found,
        wanted="the class and the settings of a head",
        next_step="copy the model again from where it was made, or update megalabel",
    )
