"""Sets texts aside for testing, for data that come as one file."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

import numpy as np

from megalabel.data.subsets import rows_of
from megalabel.data.types import CorpusData, Split
from megalabel.errors import DataError, SettingError

Data = TypeVar("Data", bound=CorpusData)


def with_test_split(data: Data, test_fraction: float = 0.1, *, seed: int = 0) -> Data:
    """The same data with a random part of the training texts as the test split.

    Equal texts stay on the same side, since a test text that was learned measures nothing. Texts without labels
    stay in training. Labels keep their columns, also those that test texts alone have then. The result has no
    `path`, since the files there hold other splits.

    Args:
        data: a data set without a test split.
        test_fraction: the share of the texts with labels that become test texts; above 0, below 1. At least one
            text stays on each side.
        seed: seeds the draw, 0 or more.

    Raises:
        SettingError: a fraction or a seed out of range, or there is a test split.
        DataError: fewer than two different texts have labels.
    """
    number = isinstance(test_fraction, (int, float, np.floating)) and not isinstance(test_fraction, bool)
    if not number or not 0 < test_fraction < 1:
        raise SettingError.range("test_fraction", test_fraction, 0, 1, above=True, below=True)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SettingError.range("seed", seed, 0, integer=True)
    if data.test is not None:
        raise SettingError(
            f"{data.name}, which has {len(data.test):,} test texts",
            wanted="data without test texts",
            next_step="train on it as it is",
            where="data",
        )
    asked = _drawn(data, test_fraction, int(seed))
    kept = np.setdiff1d(np.arange(len(data.train)), asked)
    return replace(data, train=rows_of(data.train, kept), test=rows_of(data.train, asked), path=None)


def _drawn(data: CorpusData, fraction: float, seed: int) -> np.ndarray:
    """The rows that become test texts, ascending int64."""
    labeled = np.flatnonzero(np.diff(data.train.labels.indptr))
    groups = _groups(data.train, labeled)
    n_groups = int(groups.max(initial=-1)) + 1
    if n_groups < 2:
        raise DataError(
            f"{len(labeled):,} texts with labels, and {n_groups} of them without the equal ones",
            wanted="at least two different texts with labels, one for each side",
            next_step="collect more texts",
            where=data.path,
        )
    order = np.random.default_rng(seed).permutation(n_groups)
    sizes = np.cumsum(np.bincount(groups)[order])
    wanted = max(1, math.floor(fraction * len(labeled) + 0.5))
    n = min(int(np.searchsorted(sizes, wanted)) + 1, n_groups - 1)
    return labeled[np.isin(groups, order[:n])]


def _groups(split: Split, rows: np.ndarray) -> np.ndarray:
    """A number for each row, equal for equal texts; bags of words are not compared: (n,) int64."""
    if split.features is not None:
        return np.arange(len(rows))
    known: dict[str, int] = {}
    return np.array([known.setdefault(text.strip(), len(known)) for text in split.texts[rows]], np.int64)
