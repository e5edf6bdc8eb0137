"""Lists of labels that callers allow or deny, by name, URI or id, for all texts or for each of them."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from megalabel.data.label_lookup import labels_named
from megalabel.data.label_metadata import LabelMetadata
from megalabel.errors import SettingError
from megalabel.types import ScoreType, TopK

MOST_COMPARED = 100_000  # labels up to which a misspelled name is compared with all


class Ranker(ABC):
    """The part of a `Classifier` that ranks."""

    label_texts: Sequence[str]
    n_features: int | None = None
    metadata: LabelMetadata | None = None
    score_type: ScoreType = "probability"
    loss_name: str = "bce"

    @abstractmethod
    def topk(
        self,
        texts: Any,
        k: int = 10,
        *,
        exclude: np.ndarray | None = None,
        given: Any = None,
        batch_size: int = 256,
        progress: str = "",
    ) -> TopK:
        """The k best labels of each text."""

    @abstractmethod
    def reach(self, k: int) -> int:
        """The number of labels that are computed where k are asked for: no more than there are."""

    def restricted(self, labels: np.ndarray) -> Any:
        """A classifier over some labels alone, which scores each of them as this one does, or None.

        Its label i is labels[i]. A search is replaced by scores of all of these labels, also of those that the
        search would not reach.

        Args:
            labels: (n,) int64, ascending.
        """
        return None


class Choice(NamedTuple):
    """Labels that are allowed and denied.

    allow, deny: (n,) int64 ascending for all texts; a list of such arrays, one per text; None for all, or none.
    """

    allow: np.ndarray | list[np.ndarray | None] | None = None
    deny: np.ndarray | list[np.ndarray | None] | None = None

    def of(self, row: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The labels allowed and denied for a text."""
        pair = (part[row] if isinstance(part, list) else part for part in self)
        allow, deny = pair
        return allow, deny

    def part(self, rows: slice) -> Choice:
        """That of some of the texts."""
        allow, deny = (part[rows] if isinstance(part, list) else part for part in self)
        return Choice(allow, deny)

    @classmethod
    def read(cls, model: Ranker, allow: Any, deny: Any, n_texts: int | None) -> Choice:
        """Reads lists of names or ids, for all texts or, where these are lists of lists or None, for each text.

        Raises:
            SettingError: an unknown label, another number of lists than texts, or something else.
        """
        return cls(_read(model, allow, "allow", n_texts), _read(model, deny, "deny", n_texts))


def _read(
    model: Ranker, given: Any, name: str, n_texts: int | None
) -> np.ndarray | list[np.ndarray | None] | None:
    if given is None:
        return None
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise SettingError(f"{given!r:.60}", wanted="a list of labels, names or ids", where=name)
    listed = list(given)
    per_text = [i is None or (isinstance(i, Iterable) and not isinstance(i, (str, bytes))) for i in listed]
    if not any(per_text):
        return label_ids(model, listed, name)
    if not all(per_text) or n_texts is None or len(listed) != n_texts:
        many = "a stream of" if n_texts is None else f"{n_texts:,}"
        raise SettingError(
            f"{sum(per_text)} lists of labels for {many} texts",
            wanted="one list of labels, or one list for each text",
            where=name,
        )
    flat = [label for one in listed if one is not None for label in one]
    known = dict(zip(flat, _ids_of(model, flat, name), strict=True))
    return [None if one is None else _joined([known[label] for label in one]) for one in listed]


def label_ids(model: Ranker, labels: Sequence[Any], name: str) -> np.ndarray:
    """The ids of labels that are given by name or id, ascending, each once: (n,) int64.

    Several labels with a name are all meant. A text that is no name is a URI, a notation or an alternative name.
    SettingError for an unknown label.
    """
    return _joined(_ids_of(model, labels, name))


def _joined(lists: Sequence[list[int]]) -> np.ndarray:
    return np.unique(np.array([i for one in lists for i in one], np.int64))


def _ids_of(model: Ranker, labels: Sequence[Any], name: str) -> list[list[int]]:
    """For each label given by name or id, its ids."""
    n_labels = len(model.label_texts)
    wanted = {label for label in labels if isinstance(label, str)}
    by_name = labels_named(model.label_texts, model.metadata, wanted, name)
    found = []
    for label in labels:
        if isinstance(label, str):
            if label not in by_name:
                raise _unknown(model, label, name)
            found.append(by_name[label])
        elif isinstance(label, (int, np.integer)) and not isinstance(label, bool) and 0 <= label < n_labels:
            found.append([int(label)])
        else:
            raise SettingError(
                f"the label {label!r:.60}", wanted=f"a name, or an id from 0 to {n_labels - 1:,}", where=name
            )
    return found


def _unknown(model: Ranker, label: str, name: str) -> SettingError:
    close = (
        difflib.get_close_matches(label, model.label_texts, n=1) if len(model.label_texts) < MOST_COMPARED else []
    )
    step = f"did you mean {close[0]!r}?" if close else "correct the name, or give its id"
    return SettingError(f"the label {label!r:.80}", wanted="a label of the model", next_step=step, where=name)
