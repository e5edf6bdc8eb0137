"""Opens and names the data sets that benchmarks are given: a folder, a file, or bundled:NAME."""

from __future__ import annotations

from megalabel.data.corpus import Corpus

BUNDLED = "bundled:"


def opened(data: str) -> Corpus:
    """The data set of the command line."""
    return Corpus.bundled(data.removeprefix(BUNDLED)) if data.startswith(BUNDLED) else Corpus.open(data)


def set_name(data: str) -> str:
    """The name of a data set in the rows."""
    return data.removeprefix(BUNDLED).rstrip("/").split("/")[-1]
