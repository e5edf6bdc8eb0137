"""What held-out texts say about the scores of a model: probabilities, thresholds for a precision, and label sets.

    probability   see `megalabel.models.monotone`
    precision     the least probability whose labels reach a precision, with a lower confidence bound
    coverage      the largest λ such that the labels of probability λ or more have the wanted expected recall:
                  (n · (1 − recall(λ)) + 1) / (n + 1) ≤ 1 − coverage over n held-out texts
                  (conformal risk control: Angelopoulos, Bates, Fisch, Lei and Schuster, ICLR 2024)

All of it is fitted on the best labels of texts that the model has not learned, so memory is O(texts · depth), and
only small tables are kept. Probabilities rise with scores and fall with ranks, so rankings do not change.
Thresholds are measured with probabilities that the other half of the texts gave.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from megalabel.errors import RESTORE_FOLDER, SettingError
from megalabel.kernels.sparse.hits import as_truth, hits
from megalabel.metrics.topk import checked_arrays
from megalabel.models.frequency import FrequencyCorrection
from megalabel.models.monotone import RANKS, functions_of, probability_of
from megalabel.models.tail import balanced_tail
from megalabel.models.thresholds import precision_table, recall_table
from megalabel.models.trained_on import TrainedOn
from megalabel.storage.reading import reading
from megalabel.types import ScoreType, TopK

FILE = "calibration.npz"
DEPTH = 100  # labels per text on which it is fitted, and most labels of a set
FEWEST = 30  # texts with labels to fit it on


@dataclass(frozen=True, eq=False)
class Calibration:
    """Tables that turn the scores of one model into probabilities, thresholds and label sets; float64 each.

    Attributes:
        scores, probabilities: (m,) knots of all monotone functions, one after the other: first that of all ranks,
            then those of `RANKS`.
        ends: (1 + groups,) int64, where the knots of each end.
        thresholds: (t,) probabilities, falling. precisions: (t,) the lower bound of the precision above.
        recall_thresholds: (r,) probabilities, falling. recalls: (r,) the mean recall of the labels above.
        n_texts: n, the texts with labels that it was fitted on.
        depth: labels per text.
        by_frequency: the correction for rare and frequent labels; None where the learned texts were
            not known, or fewer than 30.
        tail: the value of the tail knob by `balanced_tail`; None where there is no correction.
    """

    scores: np.ndarray
    probabilities: np.ndarray
    ends: np.ndarray
    thresholds: np.ndarray
    precisions: np.ndarray
    recall_thresholds: np.ndarray
    recalls: np.ndarray
    n_texts: int
    depth: int
    by_frequency: FrequencyCorrection | None = None
    tail: float | None = None

    @classmethod
    def fit(
        cls,
        top: TopK,
        truth: sp.csr_matrix,
        score_type: ScoreType = "logit",
        n_true: np.ndarray | None = None,
        learned: TrainedOn | None = None,
    ) -> Self | None:
        """Fits all tables on rankings of texts that the model has not learned; None for fewer than 30 such texts.

        Args:
            top: (N, K) labels and scores, best first; K of 100 is enough.
            truth: (N, L) CSR, above 0 where a text has a label.
            score_type: of the scores.
            n_true: (N,) the true labels of each text, those without a column included; default: those of `truth`.
            learned: what is known of the texts that the model has learned, in place of these; None: nothing.

        Raises:
            DataError: the ranking or the truth is damaged, or they have different numbers of texts.
        """
        ids, scores = checked_arrays(top)
        truth = as_truth(truth)
        hit = hits(ids, truth)
        of_texts = np.diff(truth.indptr) if n_true is None else np.asarray(n_true)
        if (of_texts > 0).sum() < FEWEST or not all(hit[half::2].any() for half in (0, 1)):
            return None
        crossed = np.full(scores.shape, -np.inf)
        for half in (0, 1):
            other = functions_of(scores[1 - half :: 2], hit[1 - half :: 2], score_type)
            crossed[half::2] = probability_of(scores[half::2], other)
        functions = functions_of(scores, hit, score_type)
        x, y = (np.concatenate(part) for part in zip(*functions, strict=True))
        ends = np.cumsum([len(x) for x, _ in functions])
        precisions, recalls = precision_table(crossed, hit), recall_table(crossed, hit, of_texts)
        found = cls(x, y, ends, *precisions, *recalls, int((of_texts > 0).sum()), ids.shape[1])
        if learned is None or learned.n_texts < FEWEST:
            return found
        there, counts = ids >= 0, learned.counts[np.maximum(ids, 0)]
        correction = FrequencyCorrection.fit(crossed[there], hit[there], counts[there])
        p, inverse = correction.corrected(crossed, counts), learned.inverse_propensities()
        return replace(found, by_frequency=correction, tail=balanced_tail(ids, p, truth, inverse, of_texts))

    def probability(self, scores: np.ndarray, *, ranked: bool = True) -> np.ndarray:
        """The probabilities of scores: float32; -inf, where there is no label, stays.

        Args:
            scores: (…, k), best first.
            ranked: whether the position on the last axis is the rank of a label among all labels; False where
                some labels alone are ranked, by which probabilities become less exact.
        """
        cuts = self.ends[:-1]
        functions = list(zip(np.split(self.scores, cuts), np.split(self.probabilities, cuts), strict=True))
        return probability_of(scores, functions, ranked=ranked).astype(np.float32)

    def for_precision(self, precision: float) -> float:
        """The least probability whose labels have this precision, by a lower confidence bound.

        Raises:
            SettingError: precision is not between 0 and 1, or no threshold reaches it.
        """
        _check_share("precision", precision)
        enough = np.flatnonzero(self.precisions >= precision)
        if not len(enough):
            most = float(self.precisions.max(initial=0))
            raise SettingError(
                f"precision = {precision:g}, which no threshold reaches on {self.n_texts:,} held-out texts",
                wanted=f"at most {most - 5e-4:.3f}" if most > 1e-3 else "more held-out texts",
                where="precision",
            )
        return float(self.thresholds[enough[-1]])

    def for_coverage(self, coverage: float) -> float:
        """The largest probability such that the labels that reach it have this expected recall.

        Raises:
            SettingError: coverage is not between 0 and 1, or it is not reachable since the best labels of a text
                do not hold enough of its true ones.
        """
        _check_share("coverage", coverage)
        n = self.n_texts
        enough = np.flatnonzero(n * self.recalls / (n + 1) >= coverage)  # 1 − (n · risk + 1) / (n + 1)
        if not len(enough):
            raise SettingError(
                f"coverage = {coverage:g} is not reachable: the best {self.depth} labels of {n:,} held-out texts "
                f"hold {self.reachable:.3f} of their true labels",
                wanted=f"at most {self.reachable - 5e-4:.3f}",
                where="coverage",
            )
        return float(self.recall_thresholds[enough[0]])

    @property
    def reachable(self) -> float:
        """The largest coverage that can be asked for."""
        return float(self.recalls.max(initial=0)) * self.n_texts / (self.n_texts + 1)

    def save(self, folder: Path) -> None:
        """Writes the tables into the folder of a model."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _TABLES}
        if self.by_frequency is not None:
            arrays |= {name: getattr(self.by_frequency, name) for name in _OF_FREQUENCY}
        if self.tail is not None:
            arrays["tail"] = np.float64(self.tail)
        with open(folder / FILE, "wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What `save` wrote; None in the folder of a model that is not calibrated. FormatError if damaged."""
        if not (folder / FILE).is_file():
            return None
        with (
            reading(folder, wanted="the tables of a calibration", next_step=RESTORE_FOLDER),
            np.load(folder / FILE, allow_pickle=False) as found,
        ):
            arrays = {name: found[name] for name in _TABLES}
            of_frequency = [found[name] for name in _OF_FREQUENCY] if _OF_FREQUENCY[0] in found else []
            tail = float(found["tail"]) if "tail" in found else None
        n_texts, depth = int(arrays.pop("n_texts")), int(arrays.pop("depth"))
        with reading(folder, wanted="the tables of a calibration", next_step=RESTORE_FOLDER):
            _check(arrays)
            if n_texts < 1 or depth < 1:
                raise ValueError(f"{n_texts} texts, depth {depth}")
            correction = None  # as in models of versions that had none
            if of_frequency:
                correction = FrequencyCorrection(*of_frequency)
                correction.check()
            if tail is not None and not 0 <= tail <= 1:
                raise ValueError(f"tail {tail}")
        return cls(**arrays, n_texts=n_texts, depth=depth, by_frequency=correction, tail=tail)


_TABLES = [field.name for field in fields(Calibration) if field.name not in ("by_frequency", "tail")]
_OF_FREQUENCY = [field.name for field in fields(FrequencyCorrection)]


def _check(arrays: dict[str, np.ndarray]) -> None:
    """ValueError for tables that are out of order or not of probabilities."""
    ends = arrays["ends"]
    sizes = np.diff(np.concatenate([[0], ends]))
    if (
        ends.dtype != np.int64
        or len(ends) != 1 + len(RANKS)
        or sizes.min() < 1
        or ends[-1] != len(arrays["scores"])
    ):
        raise ValueError(f"ends {ends} of {len(arrays['scores'])} knots")
    pairs = (("thresholds", "precisions"), ("recall_thresholds", "recalls"), ("scores", "probabilities"))
    for name, other in pairs:
        x, y = arrays[name], arrays[other]
        fine = x.ndim == 1 and x.shape == y.shape and x.dtype == y.dtype == np.float64 and np.isfinite(x).all()
        if not fine or not ((y >= 0) & (y <= 1)).all():
            raise ValueError(f"{name} of shape {x.shape} and {other} of shape {y.shape}")
        parts = np.split(np.stack([x, y]), ends[:-1], axis=1) if name == "scores" else [np.stack([-x, y])]
        if any((np.diff(part[0]) < 0).any() for part in parts) or any(
            name != "thresholds" and (np.diff(part[1]) < 0).any() for part in parts
        ):
            raise ValueError(f"{name} and {other} that are out of order")


def save_calibration(folder: Path, calibration: Calibration | None) -> None:
    """Writes a calibration into the folder of a model; nothing for None."""
    if calibration is not None:
        calibration.save(folder)


def _check_share(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < value < 1:
        raise SettingError(f"{name} = {value!r}", wanted="a number above 0 and below 1, such as 0.9", where=name)
