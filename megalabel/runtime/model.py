"""`load` and `Model`: the best labels of texts by an exported model."""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Iterable, Iterator

from .calibration import Calibration
from .container import Container
from .errors import ModelError
from .folders import opened
from .strings import Strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    class TopK(NamedTuple):
        """The best labels of N texts: `ids` and `scores`, a list per text, best first."""

        ids: list[list[int]]
        scores: list[list[float]]

else:
    TopK = namedtuple("TopK", ("ids", "scores"))  # typing.NamedTuple would import typing, which takes long
    TopK.__doc__ = "The best labels of N texts: `ids` and `scores`, a list per text, best first."


class Model:
    """An exported model, whose arrays stay in its file; threads may share it.

    Attributes:
        n_labels: L.
        score_type: what `topk` returns: "probability", "logit" or "margin".
        is_calibrated: whether there are calibrated probabilities.
    """

    def __init__(self, file: Container) -> None:
        try:
            self.n_labels, self.score_type = int(file.model["n_labels"]), str(file.model["score_type"])
            self._file, self._names = file, Strings(file, "labels")
            self._ranker = _ranker(file)
            self._calibration = Calibration(file) if "calibration.ends" in file else None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            if isinstance(error, ModelError):
                raise
            raise file.refused(f"a damaged header or array ({type(error).__name__}: {error})") from error
        self.is_calibrated = self._calibration is not None
        if len(self._names) != self.n_labels:
            raise file.refused(f"{len(self._names):,} names of {self.n_labels:,} labels")

    def __repr__(self) -> str:
        return f"Model({self._file.path!r}, {self.n_labels:,} labels)"

    def topk(self, texts: Iterable[str], k: int = 10) -> TopK:
        """The ids and scores of the k best labels of each text; fewer where a search reaches fewer.

        Raises:
            ModelError: texts that are not a list of strings, k below 1, or a damaged file.
        """
        found = list(self._ranked(texts, k))
        return TopK([ids for ids, _ in found], [scores for _, scores in found])

    def predict(
        self,
        texts: Iterable[str],
        k: int = 10,
        *,
        probabilities: bool | None = None,
        threshold: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """For each text, pairs (name, score) of its best labels, best first.

        Args:
            texts: a list of texts, or another iterable.
            k: labels per text.
            probabilities: True for calibrated probabilities, False for the scores of `topk`; None for
                probabilities where the model has them.
            threshold: labels with lower scores are left out.

        Raises:
            ModelError: as `topk`; a threshold that is no finite number, or above 1 where scores are from 0 to 1;
                probabilities of a model that is not calibrated and whose scores are none.
        """
        return list(self.predict_iter(texts, k, probabilities=probabilities, threshold=threshold))

    def predict_iter(
        self,
        texts: Iterable[str],
        k: int = 10,
        *,
        probabilities: bool | None = None,
        threshold: float | None = None,
    ) -> Iterator[list[tuple[str, float]]]:
        """Yields what `predict` returns, text by text."""
        calibration = self._asked(probabilities)
        least = None if threshold is None else _least(threshold, self.answer_type(probabilities))
        for ids, scores in self._ranked(texts, k):
            shown = scores if calibration is None else calibration.probabilities(scores)
            names = [self.label(i) for i in ids]
            yield [(n, s) for n, s in zip(names, shown, strict=True) if least is None or s >= least]

    def _asked(self, probabilities: bool | None) -> Calibration | None:
        if probabilities not in (None, True, False):
            raise ModelError(
                f"probabilities = {probabilities!r}", wanted="True, False or None", where="probabilities"
            )
        if probabilities and self._calibration is None and self.score_type != "probability":
            raise ModelError(
                f"probabilities of a model whose scores are of the type {self.score_type}",
                wanted="a calibrated model",
                next_step="run `megalabel calibrate RUN DATA`, and export the run again",
                where="probabilities",
            )
        return None if probabilities is False else self._calibration

    def answer_type(self, probabilities: bool | None = None) -> str:
        """What `predict` returns: "calibrated", or `score_type`."""
        return self.score_type if self._asked(probabilities) is None else "calibrated"

    def label(self, i: int) -> str:
        """The name of a label."""
        if not 0 <= i < self.n_labels:
            raise self._file.refused(f"label {i} of {self.n_labels:,}")
        return self._names[i]

    def verify(self) -> None:
        """Reads the whole file; ModelError unless it is the one that was exported."""
        self._file.verify()

    def _ranked(self, texts: Iterable[str], k: int) -> Iterator[tuple[list[int], list[float]]]:
        k = min(_whole(k), self.n_labels)
        if isinstance(texts, (str, bytes, dict, set, frozenset)) or not isinstance(texts, Iterable):
            step = "write [text]" if isinstance(texts, (str, bytes)) else ""
            raise ModelError(f"a {type(texts).__name__}", wanted="a list of texts", next_step=step, where="texts")
        for text in texts:
            if not isinstance(text, str):
                raise ModelError(f"a text of type {type(text).__name__}", wanted="a string", where="texts")
            try:
                yield self._ranker.rank(text, k)
            except (ValueError, IndexError, OverflowError) as error:
                if isinstance(error, ModelError):
                    raise
                raise self._file.refused(f"a number in it is damaged ({error})") from error


def _whole(k: Any) -> int:
    """The number of labels as an int, also of one of numpy's; ModelError for anything else."""
    if isinstance(k, bool) or not hasattr(k, "__index__") or k.__index__() < 1:
        raise ModelError(f"k = {k!r}", wanted="a whole number of at least 1", where="k")
    return int(k)


def _least(threshold: Any, kind: str) -> float:
    """The least score of a label; ModelError for no finite number, and one above all scores of a kind."""
    try:
        least = float("nan") if isinstance(threshold, (str, bytes, bool)) else float(threshold)
    except (TypeError, ValueError, OverflowError):
        least = float("nan")
    if not -float("inf") < least < float("inf"):
        raise ModelError(f"threshold = {threshold!r}", wanted="a finite number", where="threshold")
    if least > 1 and kind in ("probability", "calibrated"):
        raise ModelError(
            f"{least:g} is above all scores of this model", wanted="a number from 0 to 1", where="threshold"
        )
    return least


def _ranker(file: Container) -> Any:
    if file.model["kind"] == "trees":
        from .trees import TreeRanker

        return TreeRanker(file)
    if file.model["kind"] == "bag":
        from .bag import BagRanker

        return BagRanker(file)
    raise file.refused(f"a model of the kind {file.model['kind']!r}")


def load(path: str | os.PathLike[str]) -> Model:
    """Opens an exported model: a file of `megalabel export`, or a run folder in which it left one.

    The arrays are mapped into memory. Sizes and the header are checked, and numbers where they are used;
    `Model.verify` checks the hash of all of them.

    Raises:
        ModelError: no such file, a damaged one, or a folder that cannot be read without an export.
    """
    return Model(opened(path))
