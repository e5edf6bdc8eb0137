"""Heads inside of heads: how a wrapper writes them into its config, and rebuilds them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from megalabel.errors import FormatError
from megalabel.heads.base import Head

PACKAGE = "megalabel.heads"


def described(head: Head) -> dict[str, Any]:
    """The class and the config of a head, as JSON."""
    return {"class": f"{type(head).__module__}:{type(head).__qualname__}", "config": head.config()}


def built(description: Any, folder: Path | None = None) -> Head:
    """The head that `described` describes, its weights still to be loaded.

    A config may come from anywhere, so it imports nothing but modules under `megalabel.heads`. A class of another
    module is accepted if the program has imported that already.

    Raises:
        FormatError: something else than a description, or a class that is no head or is not there.
    """
    try:
        name, config = description["class"], description["config"]
        module, _, qualified = name.partition(":")
    except (AttributeError, KeyError, TypeError) as error:
        raise _wrong(f"{description!r:.100} in place of a class and a config") from error
    if module == PACKAGE or module.startswith(f"{PACKAGE}."):
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
    return found.from_config(config, folder)


def _wrong(found: str) -> FormatError:
    return FormatError(
        found,
        wanted="the class and the config of a head",
        next_step="copy the model again from where it was made, or update megalabel",
    )
