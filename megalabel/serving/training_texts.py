"""The training texts of a run, by which the server shows the texts behind an explanation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.data.texts import Texts
from megalabel.errors import DataError, MegalabelError
from megalabel.models.base import Classifier
from megalabel.models.explanation import Evidence
from megalabel.training.run_folder import finished_run

SHOWN = 1000  # characters of a training text


class TrainingTexts:
    """The training texts of a model, and their labels.

    Args:
        names: the names of the L labels of the model.
        texts: N texts; None where they are not known.
        labels: (N, L) CSR; None where they are not known.
    """

    def __init__(self, names: Texts, texts: Texts | None = None, labels: sp.csr_matrix | None = None) -> None:
        self._names, self._texts, self._labels = names, texts, labels

    @classmethod
    def of_run(cls, run: Path, model: Classifier) -> TrainingTexts:
        """The data set of a run, read as the run read it.

        Raises:
            MegalabelError, OSError: it is not where it was, cannot be read, or has changed.
        """
        folder = run.parent if run.name == "model" else run
        facts = finished_run(folder)["data"]
        path = facts.get("path")
        if not path:
            raise DataError("a run without the path of its data set", wanted="a data set", where=run)
        corpus = Corpus.open(path, **{"name": facts.get("name"), **facts.get("opened", {})})
        if len(corpus.train) != facts.get("texts") or corpus.n_labels != len(model.label_texts):
            raise DataError(
                f"{len(corpus.train):,} texts and {corpus.n_labels:,} labels",
                wanted=f"the data set of the run, with {facts.get('texts'):,} texts",
                where=path,
            )
        return cls(model.label_texts, corpus.train.texts, corpus.train.labels)

    def shown(self, near: Evidence) -> dict[str, Any]:
        """A training text, or the text of a label, as clients see it."""
        text, names = None, None
        if near.row < 0:
            text = self._names[-1 - near.row]
            names = [text]
        elif self._texts is not None and self._labels is not None and near.row < len(self._texts):
            text = self._texts[near.row]
            first, last = self._labels.indptr[near.row : near.row + 2]
            names = [self._names[i] for i in self._labels.indices[first:last].tolist()]
        return {
            "row": near.row,
            "text": None if text is None else text[:SHOWN],
            "labels": names,
            "similarity": round(near.similarity, 4),
            "has_label": near.has_label,
        }


def has_neighbors(model: Classifier) -> bool:
    """Whether a model knows its training texts."""
    try:
        model.neighbors([""], 1)  # type: ignore[attr-defined]
    except (AttributeError, MegalabelError):
        return False
    return True
