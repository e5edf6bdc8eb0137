"""`annif hyperopt` for the backend of `megalabel.integrations.annif`: options by validation documents."""

from __future__ import annotations

from typing import Any, ClassVar

from annif.backend.hyperopt import HPObjective, HPRecommendation, HyperparameterOptimizer
from annif.eval import EvaluationBatch


class Search(HyperparameterOptimizer, HPObjective):
    """Trains with some options per trial, and evaluates on the validation corpus."""

    ranges: ClassVar = {"c": (0.1, 10.0), "bigram_weight": (0.1, 1.0)}

    @classmethod
    def objective(cls, trial: Any, args: Any) -> float:
        """The metric of one trial."""
        backend, corpus, metric = args
        tried = {name: trial.suggest_float(name, *ends, log=True) for name, ends in cls.ranges.items()}
        trained = backend.fit({**backend.params, **tried, "calibration": "no"})
        batch = EvaluationBatch(backend.project.subjects)
        for documents in corpus.doc_batches:
            found = backend.suggestions(trained, documents, int(backend.params["limit"]))
            batch.evaluate_many(found, [document.subject_set for document in documents])
        return float(batch.results(metrics=[metric])[metric])

    def _prepare(self, n_jobs: int = 1) -> Any:
        return self._backend, self._corpus, self._metric

    def _postprocess(self, study: Any) -> HPRecommendation:
        lines = [f"{name}={value:.3g}" for name, value in study.best_params.items()]
        return HPRecommendation(lines=lines, score=study.best_value)
