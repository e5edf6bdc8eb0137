"""`Answering`, the part of a `Classifier` that answers callers: `predict`, `predict_iter` and `calibrate`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from megalabel.errors import SettingError
from megalabel.kernels.sparse.hits import as_truth
from megalabel.labels.ancestors import Ancestors
from megalabel.models.answer import answer, given_in
from megalabel.models.asking import Asked, Asking, Tail
from megalabel.models.calibrated import DEPTH, FEWEST, Calibration
from megalabel.models.depth import at_least_one
from megalabel.models.label_lists import Choice
from megalabel.models.predictions import Predictions
from megalabel.models.rows_of_labels import label_rows
from megalabel.models.text_list import check_stream, no_text

if TYPE_CHECKING:
    import scipy.sparse as sp

STREAMED = 1024  # texts of a stream that are in memory at once
CELLS = 1 << 24  # labels of these texts together, at most


class Answering(Asking):
    """A classifier that answers callers."""

    @abstractmethod
    def check_texts(self, texts: Any) -> Any:
        """Returns the texts, or rows, in the form that ranking takes; DataError if they have another type."""

    def predict(
        self,
        texts: Iterable[str] | sp.csr_matrix,
        k: int | None = None,
        *,
        probabilities: bool | None = None,
        threshold: float | None = None,
        min_labels: int = 0,
        precision: float | None = None,
        coverage: float | None = None,
        tail: Tail = 0.0,
        ancestors: Ancestors | None = None,
        language: str | None = None,
        allow: Any = None,
        deny: Any = None,
        given: Any = None,
        batch_size: int = 256,
    ) -> Predictions:
        """The names and scores of the best labels of each text: a sequence of lists of pairs (name, score).

        Args:
            texts: N texts, or rows, as `topk` takes them.
            k: labels per text; None for 10, or with `coverage` for all labels of the set.
            probabilities: True for probabilities, False for the scores of the model; None for calibrated
                probabilities where the model is calibrated, else scores. `score_type` of the answer says which.
            threshold: labels with lower scores, on the scale of the answer, are left out.
            min_labels: the best labels that stay nevertheless.
            precision: above 0, below 1: labels are left out below the least score that reached this precision on
                held-out texts, by a lower confidence bound.
            coverage: above 0, below 1: for each text a set of labels; the expected share of its true labels in the
                set is at least this (conformal risk control), for texts like those held out.
            tail: from 0 to 1; returns the k labels with the largest probability · (1/propensity)^tail, for rarer
                labels, the most probable first. 0 changes no bit. "auto": the value with the largest P@5 + PSP@5
                on the texts that calibrated the model.
            ancestors: for a model with a taxonomy: "raise" gives labels at least the scores of their descendants
                in the ranking, "add" adds the ancestors of its labels with these scores, so that an answer has
                more than k labels, and "collapse" leaves out labels that have a descendant in the answer.
            language: the language of the names, such as "fi"; a label that has none there keeps its name.
            allow, deny: lists of labels, by name, URI or id: for all texts, or a list (or None) for each text. Few
                allowed labels are ranked exactly, also where the model searches.
            given: labels that each text is known to have, as `topk` takes them; not with allow or deny.
            batch_size: number of texts that are scored together.

        Raises:
            SettingError: values that do not fit each other or the model; precision or coverage out of reach.
            DataError: as `topk`.
        """
        more = tail, ancestors, language
        asked = Asked(k, probabilities, threshold, min_labels, precision, coverage, *more).checked(self)
        texts = self.check_texts(texts)
        n = len(texts) if self.n_features is None else texts.shape[0]
        return answer(self, texts, asked, Choice.read(self, allow, deny, n), given=given, batch_size=batch_size)

    def predict_iter(
        self,
        texts: Iterable[str | Mapping[str, Any]],
        k: int | None = None,
        *,
        text_field: str = "text",
        **asked: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yields an answer per text of a stream of any length, in its order, with bounded memory.

        An answer has `score_type` and `labels`, a list of dictionaries with id, label and score, after the fields
        that a record has beside its text.

        Args:
            texts: strings, or records with the text under `text_field` and, where some labels of it are known, a
                list of their names or ids under "given".
            k: as in `predict`.
            text_field: the key of the text of a record.
            asked: further arguments of `predict` except `given`; `allow` and `deny` are for all texts.

        Raises:
            SettingError: as `predict`.
            DataError: a record without a text, or with something else than a list under "given"; a table or a set.
        """
        if "given" in asked:
            raise SettingError(
                "given labels beside a stream", wanted='records with a list of labels under "given"', where="given"
            )
        allow, deny, batch_size = asked.pop("allow", None), asked.pop("deny", None), asked.pop("batch_size", 256)
        wanted, choice = Asked(k, **asked).checked(self), Choice.read(self, allow, deny, None)
        if self.n_features is not None:
            raise SettingError(
                "a stream for a model over bags of words",
                wanted="a model that reads texts",
                next_step="call predict with a matrix of rows",
            )
        check_stream(texts)
        at_least_one("batch_size", batch_size)
        return self._stream(iter(texts), wanted, choice, text_field, batch_size)

    def _stream(
        self, texts: Iterator[Any], asked: Asked, choice: Choice, text_field: str, batch_size: int
    ) -> Iterator[dict[str, Any]]:
        size, n = max(1, min(STREAMED, CELLS // max(asked.k or 1, 1))), 0
        while part := list(islice(texts, size)):
            pairs = [_read(value, text_field, n + i) for i, value in enumerate(part)]
            texts_of = self.check_texts([text for text, _ in pairs])
            fields = [more for _, more in pairs]
            found = answer(self, texts_of, asked, choice, given=given_in(fields), batch_size=batch_size)
            yield from replace(found, fields=fields).records()
            n += len(part)

    def calibrate(
        self,
        texts: Iterable[str] | sp.csr_matrix,
        labels: sp.csr_matrix | Sequence[Sequence[str | int]],
        *,
        exclude: np.ndarray | None = None,
        n_true: np.ndarray | None = None,
        held_out: bool = False,
        batch_size: int = 256,
        progress: str = "",
    ) -> bool:
        """Fits probabilities, precision and coverage on texts that the model has not learned; in place.

        Args:
            texts: N texts, or rows.
            labels: (N, L) CSR, above 0 where a text has a label of the model; or for each text a list of names or
                ids of labels.
            exclude: (F, 2) pairs (row, label) that are left out of the rankings.
            n_true: (N,) true labels of each text, those that the model lacks included; default: those of `labels`.
            held_out: whether they are training texts that were held out, which `trained_on` counts.
            batch_size: number of texts that are scored together.
            progress: the title of a progress bar; "" for none.

        Returns:
            Whether the model is calibrated now: fewer than 30 texts with labels change nothing.
        """
        texts = self.check_texts(texts)
        n = len(texts) if self.n_features is None else texts.shape[0]
        labels = label_rows(self.label_texts, labels, n, "labels")
        if np.count_nonzero(np.diff(labels.indptr)) < FEWEST:
            return False
        shown: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
        top = self.topk(texts, self.reach(DEPTH), exclude=exclude, **shown)
        learned = self.trained_on
        if learned is not None and held_out:
            learned = learned.without(as_truth(labels))
        found = Calibration.fit(top, labels, self.score_type, n_true, learned)
        if found is None:
            return False
        self.calibration = found
        return True


def _read(value: Any, text_field: str, at: int) -> tuple[str, dict[str, Any]]:
    """The text of a record, or of a string in its place, and its other fields."""
    if isinstance(value, Mapping):
        text = value.get(text_field)
        if not isinstance(text, str):
            raise no_text(value, text_field, "text_field", f"text {at}")
        return text, {key: kept for key, kept in value.items() if key not in (text_field, "labels", "score_type")}
    return value, {}
