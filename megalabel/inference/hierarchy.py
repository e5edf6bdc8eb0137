"""Hierarchical metrics of rankings, by the taxonomy of the model, of the data set, or of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.metadata_files import taxonomy_in
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.types import CorpusData
from megalabel.errors import SettingError
from megalabel.inference.matching import Truth
from megalabel.metrics.hierarchical import measure_hierarchical
from megalabel.types import TopK

Say = Callable[[str], Any]


def taxonomy_for(
    given: Taxonomy | None, metadata: LabelMetadata | None, data: CorpusData, truth: Truth, names: Sequence[str]
) -> Taxonomy | None:
    """The taxonomy over the columns of a truth: one that is given, that of the model or that of the data set.

    Args:
        given: over the columns.
        metadata: of the labels of the model.
        data: the data set.
        truth: says which columns the labels of the data set have.
        names: the names of the columns.

    Raises:
        SettingError: the given one is over another number of labels.
    """
    if given is not None and len(given) != len(names):
        raise SettingError(
            f"a taxonomy over {len(given):,} labels", wanted=f"one over {len(names):,}", where="taxonomy"
        )
    found = metadata.taxonomy if given is None and metadata is not None else given
    if found is None and data.metadata is not None and data.metadata.taxonomy is not None:
        found = data.metadata.taxonomy.relabeled(truth.columns, names)
    return found


def hierarchical(top: TopK, truth: Truth, depths: Sequence[int], taxonomy: Taxonomy | None) -> dict[str, float]:
    """hP@k, hR@k and hF1@k in percent; {} without a taxonomy. A ranking narrower than k holds all labels.

    taxonomy: over the first columns of the truth; further ones have no parents.
    """
    if not taxonomy:
        return {}
    more = np.full(truth.labels.shape[1] - len(taxonomy), taxonomy.starts[-1], np.int64)
    whole = Taxonomy(np.append(taxonomy.starts, more), taxonomy.parents)
    reached = {depth: min(depth, top.k) for depth in depths}
    options: dict[str, Any] = {"k": reached.values(), "root": taxonomy.root, "n_true": truth.n_true}
    found = measure_hierarchical(top, truth.labels, whole.ancestors, **options)
    return {
        f"{name}@{depth}": found[f"{name}@{reached[depth]}"] for name in ("hP", "hR", "hF1") for depth in depths
    }


def read_taxonomy(file: Path, names: Sequence[str], metadata: LabelMetadata | None, say: Say) -> Taxonomy:
    """The taxonomy in a file, without pairs if that is empty; says what of it is not used.

    Raises:
        DataError: as `taxonomy_in`.
    """
    findings = Findings()
    found = taxonomy_in(file, names, metadata, findings)
    for finding in findings.all():
        if finding.notable:
            say(str(finding))
    none = np.zeros(len(names) + 1, np.int64), np.zeros(0, np.int32)
    return Taxonomy(*none) if found is None else found
