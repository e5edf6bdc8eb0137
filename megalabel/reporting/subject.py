"""What a report is about: the rankings of a run, or stored ones, beside the true labels of the same texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus, Split
from megalabel.inference.evaluate import measure_at
from megalabel.inference.matching import Truth
from megalabel.kernels.sparse.hits import as_truth, hits
from megalabel.models.base import Classifier
from megalabel.models.trained_on import TrainedOn
from megalabel.types import TopK

FIRST = 5  # labels per text among which a true label counts as found
DEPTHS = (1, 3, 5)  # of the metrics


@dataclass(frozen=True, eq=False)
class Subject:
    """The rankings of N texts by one model, and what is known of the model.

    Attributes:
        title: a short name, unique within a report.
        data: the data set; `split` holds the texts that were ranked.
        split: the N texts with their true labels.
        ids: (N, K) int64, label ids, best first, -1 for none.
        scores: (N, K) float32.
        score_type: what the scores are; "" where that is not known.
        probabilities: (N, K) float32; None for scores that do not stand for probabilities.
        truth: the true labels in the columns of `ids`.
        names: the names of the L columns.
        trained_on: the counts of the labels in training; None where they are not known.
        gains: (L,) inverse propensities, or None.
        facts: the recipe.json of a run; {} without a run.
        log: the lines of its log.
        model: the model; None for stored predictions.
        model_bytes: its size on disk; 0 where that is not known.
        notes: sentences on what does not match or was left out.
    """

    title: str
    data: Corpus
    split: Split
    ids: np.ndarray
    scores: np.ndarray
    score_type: str
    probabilities: np.ndarray | None
    truth: Truth
    names: Sequence[str]
    trained_on: TrainedOn | None = None
    gains: np.ndarray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[dict[str, Any]] = ()
    model: Classifier | None = None
    model_bytes: int = 0
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def labels(self) -> sp.csr_matrix:
        """The true labels, (N, L) CSR in canonical form."""
        return as_truth(self.truth.labels)

    @cached_property
    def hit(self) -> np.ndarray:
        """Which of the ranked labels are true, (N, K) bool."""
        return hits(self.ids, self.labels)

    @property
    def first(self) -> int:
        """The depth of the figures: 5, or less where fewer labels were ranked."""
        return min(FIRST, int(self.ids.shape[1]))

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The metrics of `megalabel evaluate` in percent, at depths that the rankings reach."""
        reached = [k for k in DEPTHS if k <= self.ids.shape[1] or self.ids.shape[1] >= len(self.names)]
        return measure_at(TopK(self.ids, self.scores), self.truth, reached, self.gains)

    @cached_property
    def pair_rows(self) -> np.ndarray:
        """The text of each pair of a text and a true label that has a column, (P,) int64, in the order of CSR."""
        return np.repeat(np.arange(len(self)), np.diff(self.labels.indptr))

    @cached_property
    def pair_ranks(self) -> np.ndarray:
        """The rank of each such true label, from 0, and K where it was not ranked: (P,) int64."""
        width = np.int64(len(self.names) + 1)
        keys = self.pair_rows * width + self.labels.indices
        rows, columns = np.nonzero(self.hit)
        ranks = np.full(len(keys), self.ids.shape[1], np.int64)
        ranks[np.searchsorted(keys, rows * width + self.ids[rows, columns])] = columns
        return ranks

    @cached_property
    def reach(self) -> np.ndarray:
        """The number of labels of each text among which its true labels count as found, (N,) int64.

        It is 5, or the number of its true labels where that is larger, so that a perfect ranking misses none; at
        most K.
        """
        return np.asarray(np.minimum(np.maximum(self.first, self.truth.n_true), self.ids.shape[1]))

    @cached_property
    def judged(self) -> np.ndarray:
        """Whether a perfect ranking of K labels holds all true labels of the text of each pair: (P,) bool.

        The other pairs are left out where misses are counted.
        """
        return np.asarray(self.truth.n_true[self.pair_rows] <= self.ids.shape[1])

    @cached_property
    def missed(self) -> np.ndarray:
        """Whether each true label that is judged is outside of the `reach` of its text: (P,) bool."""
        return np.asarray(self.judged & (self.pair_ranks >= self.reach[self.pair_rows]))

    def name(self, label: int) -> str:
        """The name of a column."""
        return self.names[label]

    def count(self, label: int) -> int | None:
        """The number of training texts that have a label; None where it is not known."""
        return None if self.trained_on is None else int(self.trained_on.counts[label])

    def text(self, row: int) -> str:
        """A text; "" in a data set of bags of words."""
        return self.split.texts[row] if len(self.split.texts) else ""
