"""The metrics of a model or of stored predictions on the texts of each source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.data.row_weights import source_counts
from megalabel.data.subsets import rows_of
from megalabel.data.test_side import test_split
from megalabel.data.types import Split
from megalabel.errors import DataError
from megalabel.inference.evaluate import DEPTHS, evaluate
from megalabel.inference.stored import evaluate_predictions, labels_needed
from megalabel.inference.stored_checks import check_fits
from megalabel.inference.stored_files import read_predictions
from megalabel.metrics.table import METRICS, table
from megalabel.models.base import Classifier
from megalabel.types import TopK


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
    return {
        name: {"texts": len(rows), **evaluate(model, own, split=part, k=k, **options)}
        for name, rows, own, part in _parts(data, side)
    }


def predictions_by_source(
    path: Path, data: Corpus, split: Split, *, k: Sequence[int] | None = None, **options: Any
) -> dict[str, dict[str, float]]:
    """Computes the metrics of `evaluate_predictions` for the texts of each source, the largest first.

    Args:
        path, data, split, k, options: as in `evaluate_predictions`.

    Returns:
        As `evaluate_by_source`.

    Raises:
        DataError: the texts have no sources; and as `evaluate_predictions`.
    """
    stored = read_predictions(path, labels_needed(split, k))
    check_fits(stored.top, stored.names_and_uris, data, split, path)
    found: dict[str, dict[str, float]] = {}
    for name, rows, own, part in _parts(data, split):
        top = TopK(stored.top.ids[rows], stored.top.scores[rows])
        measured = evaluate_predictions(path, own, part, k=k, stored=stored._replace(top=top), **options)
        found[name] = {"texts": len(rows), **measured}
    return found


def _parts(data: Corpus, split: Split) -> Iterator[tuple[str, np.ndarray, Corpus, Split]]:
    """Each source, its rows of the split, the data set to measure them with, and the split of these rows."""
    check_sources(split, data.name)
    sources = np.array(list(split.sources or ()), dtype=object)
    for name, _ in source_counts(split):
        rows = np.flatnonzero(sources == name)
        part = rows_of(split, rows)
        yield name, rows, replace(data, train=part) if split is data.train else data, part


def by_source_table(found: dict[str, dict[str, float]]) -> str:
    """The results of `evaluate_by_source` as a table."""
    columns = [c for c in ("texts", *METRICS) if any(c in values for values in found.values())]
    return table(
        [(name or "(no source)", values) for name, values in found.items()], columns=columns, title="source"
    )
