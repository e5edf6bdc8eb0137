"""Descriptions of inner heads in the config of a wrapper."""

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
    kind, config = head.description()
    return {"class": f"{kind.__module__}:{kind.__qualname__}", "config": config}


def built(description: Any, folder: Path | None = None) -> Head:
    """Makes the head of a description; its weights are still to be loaded.

    Configs may come from untrusted sources, so only modules under `megalabel.heads` are imported. A class of
    another module is accepted if that module is already imported.

    Raises:
        FormatError: not a description, a class that is not a head, or one that does not exist.
    """
    try:
        name, config = description["class"], description["config"]
        module, _, qualified = name.partition(":")
    except (AttributeError, KeyError, TypeError) as error:
        raise _wrong(f"{description!r:.100} is not a class and a config") from error
    if module == PACKAGE or module.startswith(f"{PACKAGE}."):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise _wrong(f"{name} cannot be imported ({error})") from error
    elif module not in sys.modules:
        raise FormatError(
            f"the inner head {name} is not part of megalabel",
            wanted="a head of megalabel, or one whose module is already imported",
            next_step=f"import {module} before loading the model, if you trust it",
        )
    found = getattr(sys.modules[module], qualified, None)
    if not (isinstance(found, type) and issubclass(found, Head)):
        raise _wrong(f"{name} is not a head")
    return found.from_config(config, folder)


def _wrong(found: str) -> FormatError:
    return FormatError(
        found,
        wanted="the class and the config of a head",
        next_step="copy the model again from where it was made, or update megalabel",
    )
