"""A classifier whose best labels are ranked again by a callable, such as a cross-encoder or a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from megalabel.data.filters import filter_of
from megalabel.errors import DataError, SettingError
from megalabel.models.base import Advance, Classifier
from megalabel.models.calibrated import Calibration
from megalabel.models.depth import at_least_one
from megalabel.models.mixture import Mixture
from megalabel.types import ScoreType, TopK

if TYPE_CHECKING:
    import torch

    from megalabel.data.corpus import Corpus

# Takes n texts and, for each, the names of its candidate labels; returns a score per candidate, larger for better.
Scorer = Callable[[Sequence[str], Sequence[Sequence[str]]], Any]


class RerankedClassifier(Classifier):
    """Merges the scores of a classifier with those that a callable gives to its best labels.

    `RerankedClassifier.fit` calibrates both scores and fits their weights on texts that the classifier has not
    seen. Labels below the candidates keep their order and stay below them unless the callable has little weight.

    Args:
        base: a classifier that reads texts.
        scorer: takes a list of n texts and, for each, a list of the names of its candidates, at most `candidates`;
            returns n lists of as many finite numbers, larger for better labels.
        candidates: the number of candidates per text, usually 30 to 100.
        mixture: of the two scores, those of `base` first; by default uncalibrated with equal weights.

    Raises:
        SettingError: `base` is no classifier of texts, `scorer` cannot be called, or the mixture does not have two
            weights.
    """

    loss_name = "mixture"
    scorer_type: ScoreType = "logit"

    def __init__(
        self, base: Classifier, scorer: Scorer, candidates: int = 50, mixture: Mixture | None = None
    ) -> None:
        at_least_one("candidates", candidates)
        if not isinstance(base, Classifier) or base.n_features is not None:
            raise SettingError(
                f"a {type(base).__name__} as base", wanted="a classifier that reads texts", where="base"
            )
        if not callable(scorer):
            raise SettingError(
                f"a {type(scorer).__name__} as scorer",
                wanted="a callable that takes texts and, for each, the names of its candidates",
                where="scorer",
            )
        self.base, self.scorer, self.candidates = base, scorer, candidates
        self.mixture = Mixture.from_weights([1.0, 1.0]) if mixture is None else mixture
        if len(self.mixture.weights) != 2:
            raise SettingError(
                f"{len(self.mixture.weights)} weights",
                wanted="two: of the classifier and of the scorer",
                where="mixture",
            )
        self.label_texts, self.trained_on, self.metadata = base.label_texts, base.trained_on, base.metadata

    @classmethod
    def fit(
        cls,
        base: Classifier,
        scorer: Scorer,
        corpus: Corpus,
        rows: np.ndarray,
        *,
        candidates: int = 50,
        weights: Sequence[float] = (),
    ) -> Self:
        """Calibrates the two scores and fits their weights on training texts that the classifier has not seen.

        Args:
            base, scorer, candidates: as for the class.
            corpus: the data set of the classifier.
            rows: (n,) int64, rows of its training texts that were held out, such as
                `megalabel.training.run_folder.held_out_rows(run)`.
            weights: two weights to use instead of fitted ones.

        Raises:
            SettingError: no rows, rows without labels, or other labels than those of the classifier.
        """
        if list(corpus.label_texts) != list(base.label_texts):
            raise SettingError(
                f"a corpus of {corpus.n_labels:,} labels for a classifier of {len(base.label_texts):,}",
                wanted="the labels that the classifier was trained on, in the same order",
                where="corpus",
            )
        model = cls(base, scorer, candidates)
        side, rows = corpus.train, np.asarray(rows)
        found = model.rankings(side.texts[rows], candidates, exclude=filter_of(side, rows))
        truth = side.labels[rows]
        model.mixture = Mixture.fit(found, model.score_types, truth, weights)
        merged = model.mixture.merge(found, model.score_types, candidates)
        learned = None if model.trained_on is None else model.trained_on.without(truth)
        model.calibration = Calibration.fit(merged, truth, "probability", learned=learned)
        return model

    @property
    def score_types(self) -> list[ScoreType]:
        """The types of the two scores."""
        return [self.base.score_type, self.scorer_type]

    def rankings(
        self, texts: Sequence[str], k: int, exclude: np.ndarray | None = None, batch_size: int = 256
    ) -> list[TopK]:
        """The best labels by the classifier, at least k, and its candidates in the order of the scorer."""
        depth = self.base.reach(max(k, self.candidates))
        first = self.base.topk(texts, depth, exclude=exclude, batch_size=batch_size)
        ids = np.asarray(first.ids)[:, : self.candidates]
        scores = self._scores(texts, ids)
        order = np.argsort(-scores, axis=1, kind="stable")
        return [first, TopK(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))]

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts, scores from 0 to 1."""
        merged = self.mixture.merge(self.rankings(texts, k, exclude, batch_size), self.score_types, k)
        advance(len(merged))
        return merged

    def save(self, folder: str | Path) -> None:
        """Raises SettingError: a callable cannot be saved."""
        raise SettingError(
            f"a model with the callable {getattr(self.scorer, '__name__', type(self.scorer).__name__)}",
            wanted="a model that can be saved",
            next_step="save model.base, and make the reranked model again after loading",
        )

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """Raises SettingError: there are no saved models of this class."""
        raise SettingError(
            f"{folder}", wanted="the folder of the model that is ranked again", next_step="load it, then call fit"
        )

    def _scores(self, texts: Sequence[str], ids: np.ndarray) -> np.ndarray:
        """The scorer's scores of candidates: (n, K) float32, -inf where there is no candidate."""
        names = [[self.label_texts[label] for label in row if label >= 0] for row in ids]
        given = self.scorer(list(texts), names)
        found = np.full(ids.shape, -np.inf, np.float32)
        if len(given) != len(names):
            raise DataError(
                f"scores of {len(given)} texts", wanted=f"scores of {len(names)} texts", where="scorer"
            )
        for i, (row, scores) in enumerate(zip(names, given, strict=True)):
            values = np.asarray(scores, dtype=np.float64).reshape(-1)
            if len(values) != len(row) or not np.isfinite(values).all():
                bad = "not all finite" if len(values) == len(row) else f"{len(values)} of them"
                raise DataError(
                    f"the scores of text {i} are {bad}", wanted=f"{len(row)} finite numbers", where="scorer"
                )
            found[i, np.flatnonzero(ids[i] >= 0)] = values
        return found
