"""Whether two names mean one pretrained encoder: its name on the model hub, and a folder with a copy of it."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

# The hub also has their models without an organization in the name.
_FIRST_PARTY = ("google-bert", "FacebookAI", "distilbert", "sentence-transformers")
_BUILT_IN = ("bag", "small")  # a folder of such a name is no copy
_PACKAGED = {"minilm": "all-MiniLM-L6-v2"}  # the package's name, and the hub's
_CACHED = "models--"  # how the cache of the hub names the folder of a model


def same_encoder(given: str, preset: str) -> bool:
    """Whether the encoder that a user gives is the one of a preset.

    A folder is a copy if it has the name of the encoder, with or without its organization, if it is in the cache
    of the hub under that name, or if its config.json says that it was loaded from there.

    Args:
        given: a name of the hub, or a folder.
        preset: a name of the hub, or a built-in encoder.
    """
    if given == preset:
        return True
    if given in _BUILT_IN or preset in _BUILT_IN:
        return False
    folder = Path(given)
    names = _names_of_folder(folder) if folder.is_dir() else [given]
    return any(_key(name) == _key(preset) for name in names)


def _names_of_folder(folder: Path) -> list[str]:
    whole = folder.resolve()
    names = [whole.name, *(part[len(_CACHED) :] for part in whole.parts if part.startswith(_CACHED))]
    try:
        recorded = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError):
        recorded = None
    if isinstance(recorded, str) and recorded:
        names += [recorded, PurePosixPath(recorded.replace("\\", "/")).name]
    return names


def _key(name: str) -> str:
    """A name in lower case without an organization of the first party, however that is separated from it."""
    name = _PACKAGED.get(name, name)
    for organization in _FIRST_PARTY:
        for separator in ("/", "--", "_"):
            name = name.removeprefix(f"{organization}{separator}")
    return name.replace("--", "/").lower()
