"""A backend for Annif, `backend=megalabel`: the recipe `linear`, without torch; see docs/annif.md.

Annif imports it where the variable ANNIF_CONFIG is `megalabel.integrations.annif.Config`, or `….ProductionConfig`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import annif.backend
import numpy as np
from annif.backend.backend import AnnifLearningBackend
from annif.backend.hyperopt import AnnifHyperoptBackend
from annif.default_config import Config as Config
from annif.default_config import ProductionConfig as ProductionConfig
from annif.exception import NotInitializedException, NotSupportedException, OperationFailedException
from annif.suggestion import SuggestionBatch
from scipy.sparse import csr_array

from megalabel.data.corpus import Corpus
from megalabel.errors import MegalabelError
from megalabel.integrations.annif_search import Search
from megalabel.models.linear import LinearClassifier
from megalabel.models.trained_on import TrainedOn
from megalabel.progress import hidden
from megalabel.recipes.linear import linear
from megalabel.storage.files import write_bytes_atomically

MODEL, TEXTS = "megalabel-model", "megalabel-train.jsonl"  # for Annif, files called *-train* are no models


class Trained(NamedTuple):
    """A model, and the number of the subject of each label, (L,) int64; -1 where Annif no longer has it."""

    model: Any
    subjects: np.ndarray


class MegalabelBackend(AnnifLearningBackend, AnnifHyperoptBackend):
    """Suggests subjects by linear models; options of `megalabel train linear` are parameters of the project."""

    name = "megalabel"
    _trained: Any = None  # a Trained, once it is there

    def initialize(self, parallel: bool = False) -> None:
        """Loads the model, whose weights stay in their files."""
        if self._trained is None:
            if not (path := Path(self.datadir, MODEL)).is_dir():
                raise NotInitializedException(f"model {path} not found", backend_id=self.backend_id)
            with _reported():
                self._trained = self._with_subjects(LinearClassifier.load(path))

    def fit(self, params: dict[str, Any]) -> Trained:
        """Trains on the stored texts; the labels are all subjects that Annif may suggest."""
        path, declared = Path(self.datadir, TEXTS), linear.options.declared
        if not path.is_file() or not path.stat().st_size:
            raise NotSupportedException("Cannot train a megalabel project without documents that have subjects")
        with open(path, encoding="utf-8") as lines:
            texts, numbers = zip(*map(json.loads, lines), strict=True)
        active, language = dict(self.project.subjects.active), self.project.vocab_lang
        rows = {number: row for row, number in enumerate(active)}
        labels = [[rows[number] for number in of_text if number in rows] for of_text in numbers]
        names = [subject.labels.get(language) or subject.uri for subject in active.values()]
        records = {
            row: {"uri": s.uri, "names": s.labels, **({"notation": s.notation} if s.notation else {})}
            for row, s in enumerate(active.values())
        }
        with _reported(), hidden():
            options = {key: declared[key].parse(str(params[key])) for key in params.keys() & declared.keys()}
            corpus = Corpus.of(texts, labels, names, name=self.project.project_id).with_metadata(records)
            model: Any = linear(corpus, **options).solve(self.info)
        model.metadata = corpus.metadata
        model.trained_on = TrainedOn.from_data(corpus).with_pairs(corpus.train.labels)
        return self._with_subjects(model)

    def suggestions(self, trained: Trained, documents: list[Any], limit: int) -> SuggestionBatch:
        """The best subjects of documents, with probabilities where the model is calibrated."""
        texts, k = [document.text for document in documents], min(limit, len(trained.subjects))
        with _reported(), hidden():
            ids, scores = trained.model.predict(texts, k).numpy()
        subjects = np.where(ids < 0, -1, trained.subjects[ids])
        rows, columns = np.nonzero((subjects >= 0) & (scores > 0))
        cells, shape = (rows, subjects[rows, columns]), (len(texts), len(self.project.subjects))
        return SuggestionBatch(csr_array((scores[rows, columns], cells), shape=shape, dtype=np.float32))

    def get_hp_optimizer(self, corpus: Any, metric: str) -> Search:
        """Searches for the options of linear models that suit a validation corpus, on the stored texts."""
        return Search(self, self.project.transform.transform_corpus(corpus), metric, Search)

    def _train(self, corpus: Any, params: dict[str, Any], jobs: int = 0) -> None:
        if corpus != "cached":
            with write_bytes_atomically(Path(self.datadir, TEXTS)) as file:
                file.writelines(json.dumps(document).encode() + b"\n" for document in _documents(corpus))
        self._save(self.fit(params))

    def _learn(self, corpus: Any, params: dict[str, Any]) -> None:
        self.initialize()
        rows = {number: row for row, number in enumerate(self._trained.subjects.tolist())}
        found = [(text, [rows[n] for n in numbers if n in rows]) for text, numbers in _documents(corpus)]
        with _reported(), hidden():
            self._trained.model.partial_fit([text for text, _ in found], [labels for _, labels in found])
        self._save(self._trained)

    def _suggest_batch(self, documents: list[Any], params: dict[str, Any]) -> SuggestionBatch:
        return self.suggestions(self._trained, documents, int(params["limit"]))

    def _save(self, trained: Trained) -> None:
        with _reported():
            trained.model.save(Path(self.datadir, MODEL))
        self._trained = trained

    def _with_subjects(self, model: Any) -> Trained:
        known = {subject.uri: number for number, subject in self.project.subjects.active}
        return Trained(model, np.array([known.get(uri, -1) for uri in model.metadata.uris]))


@contextmanager
def _reported() -> Iterator[None]:
    """Lets Annif print errors of megalabel as its own."""
    try:
        yield
    except (MegalabelError, ModuleNotFoundError) as error:  # of torch, if a model needs it
        raise OperationFailedException(str(error)) from error


def _documents(corpus: Any) -> Iterator[tuple[str, list[int]]]:
    """Texts and numbers of their subjects, of the documents that have both."""
    for document in corpus.documents:
        if document.text.strip() and document.subject_set:
            yield document.text, sorted(document.subject_set)


annif.backend._backend_fns[MegalabelBackend.name] = lambda: MegalabelBackend
