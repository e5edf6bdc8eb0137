"""The propensity constants of known data sets by name, and the data sets that the package bundles."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from megalabel.errors import SettingError

_HERE = Path(__file__).parent
BUNDLED = ("wordnet-4k", "wordnet")
DEFAULT_CONSTANTS = (0.55, 1.5)


_ADDED = re.compile(r"([-_.](aug|raw|bow|raw_text|json|text|texts))$", re.IGNORECASE)
_ALIASES = {"wiki31k": "wiki1031k", "eurlex": "eurlex4k", "amazoncat": "amazoncat13k"}


@lru_cache(maxsize=1)
def catalog() -> dict[str, dict[str, float]]:
    """The entries of catalog.toml by data set name in lower case; each has the keys a, b and labels."""
    return {name.lower(): entry for name, entry in _sets().items()}


@lru_cache(maxsize=1)
def _sets() -> dict[str, dict[str, float]]:
    sets: dict[str, dict[str, float]] = tomllib.loads((_HERE / "catalog.toml").read_text(encoding="utf-8"))
    return sets


def set_key(name: str) -> str:
    """What two spellings of one data set's name have in common.

    Case, hyphens, underscores and dots do not count, nor what preparation appends: `-Aug`, `.raw`, `.bow`. So
    `LF-AmazonTitles-131K`, `lfamazontitles131k` and `LF-AmazonTitles-131K-Aug` have one key.
    """
    while (bare := _ADDED.sub("", name)) != name and bare:
        name = bare
    key = re.sub(r"[-_. ]", "", name.lower())
    return _ALIASES.get(key, key)


def known_name(name: str) -> str | None:
    """The name in the catalog of the data set that a name means; None for a data set that is not listed."""
    key = set_key(name)
    return next((known for known in _sets() if set_key(known) == key), None)


def published_labels(name: str) -> int | None:
    """The published number of labels of a data set, or None where it is not listed."""
    known = known_name(name)
    return None if known is None else int(_sets()[known]["labels"])


def propensity_constants(name: str) -> tuple[float, float]:
    """A and B of the propensity model of Jain et al. (KDD 2016) for a data set.

    The name may have any of the spellings of `set_key`; a data set that is not listed gets (0.55, 1.5).
    """
    known = known_name(name)
    if known is None:
        return DEFAULT_CONSTANTS
    entry = _sets()[known]
    return float(entry["a"]), float(entry["b"])


def check_name(name: object) -> str:
    """The name of a data set; SettingError for something else than a string."""
    if isinstance(name, str):
        return name
    raise SettingError(f"{name!r:.60} of type {type(name).__name__}", wanted="a name, as a string", where="name")


def check_constants(values: Sequence[float]) -> tuple[float, float]:
    """A and B as two numbers; SettingError unless both are finite and above 0."""
    try:
        pair = tuple(float(value) for value in values)
        found = ",".join(f"{value:g}" for value in pair)
    except (TypeError, ValueError):
        pair, found = (), f"{values!r:.60}"
    if len(pair) == 2 and all(math.isfinite(value) and value > 0 for value in pair):
        return pair[0], pair[1]
    raise SettingError(
        f"propensity = {found}",
        wanted="two numbers above 0, A,B, such as 0.6,2.6",
        where="propensity",
    )


def propensity_source(name: str, given: tuple[float, float] | None) -> str:
    """A sentence on the propensity constants of a data set: the values, and where they come from."""
    a, b = propensity_constants(name) if given is None else given
    known = known_name(name)
    if given is not None:
        origin = "as given"
    elif known is None:
        origin = f"the usual values: {name!r} is not in the catalog; --propensity A,B or --name NAME sets them"
    else:
        origin = f"those of {known}"
    return f"propensity constants A = {a:g}, B = {b:g} ({origin})"


def bundled_folder(name: str) -> Path:
    """The folder of a bundled data set.

    Raises:
        SettingError: the package has no data set of that name.
    """
    if name not in BUNDLED:
        raise SettingError(
            f"no bundled data set is called {name!r}",
            wanted=" or ".join(BUNDLED),
            next_step="name one of them, or a folder of your own without `bundled`",
            where="name",
        )
    return _HERE / "bundled" / name
