"""The propensity constants of known data sets by name, and the data sets that the package bundles."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path

from megalabel.errors import SettingError

_HERE = Path(__file__).parent
BUNDLED = ("wordnet-4k", "wordnet")
DEFAULT_CONSTANTS = (0.55, 1.5)


@lru_cache(maxsize=1)
def catalog() -> dict[str, dict[str, float]]:
    """The entries of catalog.toml by data set name in lower case; each has the keys a, b and labels."""
    sets = tomllib.loads((_HERE / "catalog.toml").read_text(encoding="utf-8"))
    return {name.lower(): entry for name, entry in sets.items()}


def propensity_constants(name: str) -> tuple[float, float]:
    """A and B of the propensity model of Jain et al. (KDD 2016) for a data set.

    The name is matched in any case; a data set that is not listed gets (0.55, 1.5).
    """
    entry = catalog().get(name.lower())
    return DEFAULT_CONSTANTS if entry is None else (float(entry["a"]), float(entry["b"]))


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
