"""`LabelClassifier`, a scikit-learn estimator over the recipes of megalabel."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from megalabel.data.corpus import Corpus
from megalabel.data.given import given_texts, given_values
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split
from megalabel.errors import SettingError
from megalabel.models.base import Classifier, load
from megalabel.models.predictions import Predictions
from megalabel.recipes import from_preset
from megalabel.sklearn.inputs import as_value_errors, n_rows, read_inputs
from megalabel.sklearn.targets import Targets, read_targets
from megalabel.storage.paths import as_path
from megalabel.training.cleanup import remove_run
from megalabel.training.run import train
from megalabel.tuning.auto import AUTO
from megalabel.tuning.search import tune


class LabelClassifier(ClassifierMixin, BaseEstimator):
    """A classifier over very many labels, with scikit-learn's interface.

    `X` is a list (or column) of texts, or a matrix of features, dense or sparse. `y` is one class per text, a list
    of labels per text, or a matrix (texts, labels) of zeros and ones, which should be sparse. No method makes a
    dense matrix of texts and labels. `predict` returns classes if each training text had one, otherwise a sparse
    matrix.

    Args:
        recipe: the name of a recipe, such as "linear" or "renee"; "auto" searches for the best one.
        minutes: the time for the search of "auto".
        options: options of the recipe, such as {"c": 2.0}.
        k: labels per text that `predict_proba` and `predict` consider, and the default of `decision_topk`.
        threshold: the probability from which `predict` assigns a label; unused with one class per text.
        min_labels: labels that `predict` assigns nevertheless, the best ones.
        label_texts: (L,) names of the labels, which recipes train on; by default the classes.
        out: the run folder; None for a temporary one. An equal finished run in it is loaded, an interrupted one is
            resumed.
        overwrite: replace another run in `out`.
        device: where to train; None for the first GPU, or the CPU.
        random_state: an integer or RandomState for the seed of the recipe; None for 0.
        verbose: print the progress of the training.

    Attributes:
        classes_: (L,) the classes, sorted, or 0 … L − 1 for a matrix without column names.
        model_: the trained `megalabel.Classifier`.
        label_counts_: (L,) the training texts that have each label.
        n_texts_: the number of training texts.
        n_features_in_: V, if X holds features.
    """

    def __init__(
        self,
        recipe: str = AUTO,
        *,
        minutes: float = 20.0,
        options: Mapping[str, Any] | None = None,
        k: int = 10,
        threshold: float = 0.5,
        min_labels: int = 0,
        label_texts: Any = None,
        out: str | Path | None = None,
        overwrite: bool = False,
        device: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.minutes = minutes
        self.options = options
        self.k = k
        self.threshold = threshold
        self.min_labels = min_labels
        self.label_texts = label_texts
        self.out = out
        self.overwrite = overwrite
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains a model.

        Args:
            X: N texts, or (N, V) features.
            y: the labels of each text; see `LabelClassifier`.
            sample_weight: (N,) numbers of 0 or more, the factor of the loss of each text.

        Raises:
            ValueError: X or y is not what it should be, or an argument of the constructor is out of range.
            MissingExtra: an encoder is not installed.
        """
        inputs, targets = read_inputs(self, X, reset=True), read_targets(y)
        if n_rows(inputs) != targets.labels.shape[0]:
            raise ValueError(
                f"{n_rows(inputs):,} texts in X and {targets.labels.shape[0]:,} in y; expected as many"
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, targets.labels, ensure_non_negative=True)
        with as_value_errors():
            self.model_ = self._trained(self._corpus(inputs, targets, sample_weight))
        self.classes_, self._one_each = targets.classes, targets.one_each
        self.label_counts_ = np.asarray(targets.labels.sum(axis=0), np.int64).ravel()
        self.n_texts_ = targets.labels.shape[0]
        return self

    def predict(self, X: Any) -> Any:
        """The classes (N,) if each training text had one; otherwise (N, L) CSR of zeros and ones.

        A label is assigned to a text if it is among its best k and its probability is at least `threshold`.
        """
        if self._is_one_each():
            ids = self.decision_topk(X, 1).ids[:, 0]
            return self.classes_[np.where(ids < 0, self.label_counts_.argmax(), ids)]
        asked = {"threshold": self.threshold, "min_labels": self.min_labels, "probabilities": True}
        found = self._answers(X, self.k, **asked).to_csr()
        found.data = np.ones(found.nnz, np.int64)
        return found

    def predict_proba(self, X: Any) -> Any:
        """The probabilities of the best k labels of each text: (N, L) CSR float32, calibrated if the model is.

        With one class per training text and at most k classes, an array (N, L) whose rows sum to 1.
        """
        found = self._answers(X, self.k, probabilities=True).to_csr()
        if not self._is_one_each() or len(self.classes_) > self.k:
            return found
        table = found.toarray().astype(np.float64)
        table += np.finfo(np.float32).tiny  # a row of zeros has no other classes
        return table / table.sum(axis=1, keepdims=True)

    def decision_topk(self, X: Any, k: int | None = None) -> Predictions:
        """The best k labels of each text and the scores of the model: ids and scores (N, k), with names."""
        return self._answers(X, self.k if k is None else k, probabilities=False)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """P@1 as a fraction: the share of texts whose best label is correct; with one class each, the accuracy."""
        ids, labels = self.decision_topk(X, 1).ids[:, 0], read_targets(y, self.classes_).labels
        if labels.shape[0] != len(ids):
            raise ValueError(f"{len(ids):,} texts in X and {labels.shape[0]:,} in y; expected as many")
        rows = np.flatnonzero(ids >= 0)
        hits = np.zeros(len(ids))
        hits[rows] = np.asarray(labels[rows, ids[rows]]).ravel()
        weights = _check_sample_weight(sample_weight, labels, ensure_non_negative=True)
        if not weights.sum():
            raise ValueError("sample_weight without a weight above 0")
        return float(np.average(hits, weights=weights))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """The arguments and, of a fitted estimator, its model as the bytes of a folder."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_folder", None)
        if "model_" in state:
            state["model_"] = _packed(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpacks the model into a temporary folder, where its weights stay."""
        super().__setstate__(state)
        if "model_" in state:
            self._folder: _Folder | None = _Folder()
            with tarfile.open(fileobj=io.BytesIO(state["model_"])) as file:
                file.extractall(self._folder.path, filter="data")
            self.model_ = load(self._folder.path / "model", device=self.device)

    def _is_one_each(self) -> bool:
        check_is_fitted(self)
        return self._one_each

    def _answers(self, X: Any, k: int, **asked: Any) -> Predictions:
        check_is_fitted(self)
        inputs = read_inputs(self, X, reset=False)
        with as_value_errors():
            return self.model_.predict(inputs, k, **asked)

    def _corpus(self, inputs: Texts | sp.csr_matrix, targets: Targets, sample_weight: Any) -> Corpus:
        n = n_rows(inputs)
        values = given_values(sample_weight, None, n)
        if isinstance(inputs, Texts):
            split = Split(inputs, targets.labels, weights=values.weights)
        else:
            split = Split(Texts.blank(n), targets.labels, features=inputs, weights=values.weights)
        named = list(map(str, targets.classes)) if self.label_texts is None else self.label_texts
        names = given_texts(named, "label_texts")
        if len(names) != targets.labels.shape[1]:
            raise ValueError(f"{len(names):,} label_texts; expected {targets.labels.shape[1]:,}, one per label")
        return Corpus.from_data(CorpusData("corpus", split, None, names))

    def _trained(self, corpus: Corpus) -> Classifier:
        self._folder = _Folder() if self.out is None else None
        out = self._folder.path / "run" if self._folder else as_path(self.out, "out")
        if self.overwrite:
            remove_run(out)
        seed = 0 if self.random_state is None else int(check_random_state(self.random_state).randint(1 << 31))
        shared: dict[str, Any] = {"device": self.device, "quiet": not self.verbose}
        if self.options is not None and not isinstance(self.options, Mapping):
            raise SettingError(
                f"{self.options!r:.80}", wanted='options by name, such as {"c": 2.0}', where="options"
            )
        values = {"seed": seed, **(self.options or {})}
        if self.recipe == AUTO:
            return tune(corpus, out, minutes=self.minutes, **shared, **values)
        return train(from_preset(self.recipe, corpus, **values), out, **shared)


class _Folder:
    """A temporary folder that is removed when nothing refers to this object any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="megalabel-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _packed(model: Classifier) -> bytes:
    raw = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        with tarfile.open(fileobj=raw, mode="w") as file:
            file.add(Path(folder) / "model", arcname="model")
    return raw.getvalue()
