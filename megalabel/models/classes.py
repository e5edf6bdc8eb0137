"""The names of classes in the manifests of models, and the classes that they name."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megalabel.errors import RESTORE_FOLDER, FormatError
from megalabel.storage.reading import brief

PACKAGES = ("megalabel.models.", "megalabel.heads.", "megalabel.encoders.")  # that hold the classes of models
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")  # a module's name
IMPORTABLE = "install the package, or give the command in the folder that holds it"


def class_name(part: object) -> str:
    """The name of the class of a part, for `named_class`."""
    return f"{type(part).__module__}:{type(part).__qualname__}"


def named_class(name: Any, kind: type, trust: Sequence[str], folder: Path) -> Any:
    """The class "module:name", which must be a subclass of `kind` in megalabel or in a module in `trust`.

    Raises:
        FormatError: the name is not that of a class, the module is not trusted, the class is abstract or cannot be
            imported.
    """
    module, _, qualified = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not _DOTTED.fullmatch(module):
        raise _no_class(f"{name!r:.80} instead of a class", kind, folder)
    if module.startswith("megalabel.") and not module.startswith(PACKAGES):  # `megalabel.__main__` would run
        raise _no_class(f"{name} is not a {kind.__name__}", kind, folder)
    package = module.split(".")[0]
    if package not in ("megalabel", *trust):
        raise FormatError(
            f"the model's {kind.__name__.lower()} comes from {module}, which is not part of megalabel",
            wanted="a module that you trust",
            next_step=f'give --trust {package}, or trust=["{package}"] in Python, if you do',
            where=folder,
        )
    try:
        found = getattr(importlib.import_module(module), qualified)
    except Exception as error:  # whatever the code of another package raises
        found = f"{name} cannot be imported ({type(error).__name__}: {brief(error)})"
        next_step = RESTORE_FOLDER if package == "megalabel" else IMPORTABLE
        raise FormatError(found, wanted=f"a {kind.__name__}", next_step=next_step, where=folder) from error
    if not (isinstance(found, type) and issubclass(found, kind)) or inspect.isabstract(found):
        raise _no_class(f"{name} is not a {kind.__name__}", kind, folder)
    return found


def _no_class(found: str, kind: type, folder: Path) -> FormatError:
    return FormatError(found, wanted=f"a {kind.__name__}", next_step=RESTORE_FOLDER, where=folder)
