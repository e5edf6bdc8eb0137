"""The metrics of a model on the texts of each source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.data.row_weights import source_counts
from megalabel.data.subsets import rows_of
from megalabel.data.test_side import test_split
from megalabel.data.types import Split
from megalabel.errors import DataError
from megalabel.inference.evaluate import DEPTHS, evaluate
from megalabel.metrics.table import METRICS, table
from megalabel.models.base import Classifier


def check_sources(split: Split, name: str) -> None:
    """Raises DataError for texts without sources."""
    if split.sources is None:
        raise DataError(
            f"the texts of {name} that are measured have no sources",
            wanted="a field `source` of JSON lines, CSV or Parquet, or tst_sources.txt",
            next_step="name the field with source_field (--source-field)",
        )


def evaluate_by_source(
    model: Classifier, data: Corpus, *, split: Split | None = None, k: int | Iterable[int] = DEPTHS, **options: Any
) -> dict[str, dict[str, float]]:
    """Computes the metrics of `evaluate` for the texts of each source, the largest first.

    Args:
        model, data, split, k, options: as in `evaluate`.

    Returns:
        For each source its metrics in percent, and the number of its texts under "texts".

    Raises:
        DataError: the texts have no sources; and as `evaluate`.
    """
    side = test_split(data) if split is None else split
    check_sources(side, data.name)
    sources = np.array(list(side.sources or ()), dtype=object)
    found: dict[str, dict[str, float]] = {}
    for name, count in source_counts(side):
        part = rows_of(side, np.flatnonzero(sources == name))
        own = replace(data, train=part) if side is data.train else data
        found[name] = {"texts": count, **evaluate(model, own, split=part, k=k, **options)}
    return found


def by_source_table(found: dict[str, dict[str, float]]) -> str:
    """The results of `evaluate_by_source` as a table."""
    columns = [c for c in ("texts", *METRICS) if any(c in values for values in found.values())]
    return table(
        [(name or "(no source)", values) for name, values in found.items()], columns=columns, title="source"
    )
