"""A backend for Annif, `backend=megalabel`, which trains the recipe `linear` without torch; see docs/annif.md.

Annif imports this module, and so learns of the backend, where ANNIF_CONFIG names a configuration of it:

    export ANNIF_CONFIG=megalabel.integrations.annif.Config
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import annif.backend
import numpy as np
from annif.backend.backend import AnnifLearningBackend
from annif.backend.hyperopt import AnnifHyperoptBackend, HPObjective, HPRecommendation, HyperparameterOptimizer
from annif.default_config import Config, ProductionConfig
from annif.eval import EvaluationBatch
from annif.exception import NotInitializedException, NotSupportedException, OperationFailedException
from annif.suggestion import SuggestionBatch
from scipy.sparse import csr_array

from megalabel.data.corpus import Corpus
from megalabel.errors import MegalabelError
from megalabel.models.linear import LinearClassifier
from megalabel.models.trained_on import TrainedOn
from megalabel.progress import hidden
from megalabel.recipes.linear import linear
from megalabel.storage.files import write_bytes_atomically

__all__ = ["Config", "MegalabelBackend", "ProductionConfig"]
MODEL, TEXTS = "megalabel-model", "megalabel-train.jsonl"  # for Annif, files called *-train* are no models


class Trained(NamedTuple):
    """A model, and the number of the subject of each label, (L,) int64; -1 where Annif no longer has it."""

    model: Any
    subjects: np.ndarray


class MegalabelBackend(AnnifLearningBackend, AnnifHyperoptBackend):
    """Suggests subjects by linear models; options of `megalabel train linear` are parameters of the project."""

    name = "megalabel"
    _trained: Trained | None = None

    def initialize(self, parallel: bool = False) -> None:
        """Loads the model, whose weights stay in their files."""
        path = Path(self.datadir, MODEL)
        if self._trained is None and not path.is_dir():
            raise NotInitializedException(f"model {path} not found", backend_id=self.backend_id)
        if self._trained is None:
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
        records = {
            row: {"uri": s.uri, "names": s.labels, **({"notation": s.notation} if s.notation else {})}
            for row, s in enumerate(active.values())
        }
        rows = {number: row for row, number in enumerate(active)}
        labels = [[rows[number] for number in of_text if number in rows] for of_text in numbers]
        names = [subject.labels.get(language) or subject.uri for subject in active.values()]
        with _reported(), hidden():
            options = {
                name: declared[name].parse(str(value)) for name, value in params.items() if name in declared
            }
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

    def get_hp_optimizer(self, corpus: Any, metric: str) -> HyperparameterOptimizer:
        """Searches for the options of linear models that suit a validation corpus, on the stored texts."""
        return Optimizer(self, self.project.transform.transform_corpus(corpus), metric, Objective)

    def _train(self, corpus: Any, params: dict[str, Any], jobs: int = 0) -> None:
        if corpus != "cached":
            with write_bytes_atomically(Path(self.datadir, TEXTS)) as file:
                file.writelines(json.dumps(document).encode() + b"\n" for document in _documents(corpus))
        self._save(self.fit(params))

    def _learn(self, corpus: Any, params: dict[str, Any]) -> None:
        self.initialize()
        assert self._trained is not None
        if not hasattr(self._trained.model, "partial_fit"):
            raise NotSupportedException("This version of megalabel cannot learn further documents")
        rows = {number: row for row, number in enumerate(self._trained.subjects.tolist())}
        found = [(text, [rows[n] for n in numbers if n in rows]) for text, numbers in _documents(corpus)]
        with _reported(), hidden():
            self._trained.model.partial_fit([text for text, _ in found], [labels for _, labels in found])
        self._save(self._trained)

    def _suggest_batch(self, documents: list[Any], params: dict[str, Any]) -> SuggestionBatch:
        assert self._trained is not None
        return self.suggestions(self._trained, documents, int(params["limit"]))

    def _save(self, trained: Trained) -> None:
        with _reported():
            trained.model.save(Path(self.datadir, MODEL))
        self._trained = trained

    def _with_subjects(self, model: Any) -> Trained:
        known = {subject.uri: number for number, subject in self.project.subjects.active}
        return Trained(model, np.array([known.get(uri, -1) for uri in model.metadata.uris]))


class Objective(HPObjective):
    """Trains with some options, and evaluates on the validation corpus."""

    @classmethod
    def objective(cls, trial: Any, args: Any) -> float:
        """The metric of one trial."""
        backend, corpus, metric = args
        tried = {name: trial.suggest_float(name, *ends, log=True) for name, ends in Optimizer.ranges.items()}
        trained = backend.fit({**backend.params, **tried, "calibration": "no"})
        batch = EvaluationBatch(backend.project.subjects)
        for documents in corpus.doc_batches:
            found = backend.suggestions(trained, documents, int(backend.params["limit"]))
            batch.evaluate_many(found, [document.subject_set for document in documents])
        return float(batch.results(metrics=[metric])[metric])


class Optimizer(HyperparameterOptimizer):
    """What `annif hyperopt` varies, and the lines that it prints for the configuration."""

    ranges: ClassVar = {"c": (0.1, 10.0), "bigram_weight": (0.1, 1.0)}

    def _prepare(self, n_jobs: int = 1) -> Any:
        return self._backend, self._corpus, self._metric

    def _postprocess(self, study: Any) -> HPRecommendation:
        best = study.best_trial
        return HPRecommendation(
            lines=[f"{name}={best.params[name]:.3g}" for name in self.ranges], score=best.value
        )


@contextmanager
def _reported() -> Iterator[None]:
    """Lets Annif print errors of megalabel as its own."""
    try:
        yield
    except MegalabelError as error:
        raise OperationFailedException(str(error)) from error


def _documents(corpus: Any) -> Iterator[tuple[str, list[int]]]:
    """Texts and numbers of their subjects, of the documents that have both."""
    for document in corpus.documents:
        if document.text.strip() and document.subject_set:
            yield document.text, sorted(document.subject_set)


annif.backend._backend_fns[MegalabelBackend.name] = lambda: MegalabelBackend
