"""What is known of data sets by name: the constants of their propensities, and which are bundled."""

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
    """Every set of catalog.toml under its name in lower case, with the keys a, b and labels."""
    sets = tomllib.loads((_HERE / "catalog.toml").read_text(encoding="utf-8"))
    return {name.lower(): entry for name, entry in sets.items()}


def propensity_constants(name: str) -> tuple[float, float]:
    """A and B of Jain et al. (KDD 2016) for a data set, by name in any case; (0.55, 1.5) if not listed."""
    entry = catalog().get(name.lower())
    return DEFAULT_CONSTANTS if entry is None else (float(entry["a"]), float(entry["b"]))


def bundled_folder(name: str) -> Path:
    """The folder of a data set inside the package.

    Raises:
        SettingError: no such set.
    """
    if name not in BUNDLED:
        raise SettingError(
            f"no bundled data set is called {name!r}",
            wanted=" or ".join(BUNDLED),
            next_step="choose one of these, or open your own folder with Corpus.open",
            where="name",
        )
    return _HERE / "bundled" / name
