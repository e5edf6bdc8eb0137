"""The part of `megalabel update` that learns the training texts of a data set."""

from __future__ import annotations

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.display import counted
from megalabel.errors import DataError
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.models.base import Classifier
from megalabel.models.further_texts import columns_of, in_columns

MOST_TEXTS = 4096  # texts beside the examples by which the scores of added labels are found


def learn_data(model: Classifier, corpus: Corpus, adds: bool) -> tuple[Classifier, str]:
    """The model that has learned a data set, and what it has learned.

    Args:
        model: a model with `partial_fit`.
        corpus: its training side is learned.
        adds: whether labels that the model lacks are added by their texts.

    Raises:
        DataError: no text has a label of the model.
    """
    inputs = model_inputs(corpus.train, corpus, model.n_features)
    _check_common(model, corpus)
    if adds:
        model = _with_new_labels(model, corpus)
    labels = in_columns(corpus.train.labels, columns_of(model.label_texts, corpus), len(model.label_texts))
    model.partial_fit(inputs, labels, weights=corpus.train.weights)
    learned = int((np.diff(labels.indptr) > 0).sum())
    left = len(corpus.train) - learned
    told = f"learned {counted(learned, 'text')} of {corpus.name}"
    return model, told + (f", left out {counted(left, 'text')} without a label of the model" if left else "")


def _check_common(model: Classifier, corpus: Corpus) -> None:
    """DataError where no text has a label of the model, which would be another task."""
    used = np.unique(corpus.train.labels.indices)
    if not (columns_of(model.label_texts, corpus)[used] >= 0).any():
        raise DataError(
            f"no text of {corpus.name} has a label of the model, whose first is {model.label_texts[0]!r:.80}",
            wanted="texts with labels that the model knows, and perhaps further ones",
            next_step="compare the names with `megalabel labels RUN`",
            where=corpus.path,
        )


def _with_new_labels(model: Classifier, corpus: Corpus) -> Classifier:
    """The model with the labels of the texts that it lacks, added by these texts."""
    by_label, texts = corpus.train.labels.tocsc(), corpus.train.texts
    some = np.flatnonzero((columns_of(model.label_texts, corpus) < 0) & (np.diff(by_label.indptr) > 0))
    examples: dict[str, list[str]] = {}
    for label in some.tolist():
        rows = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]].tolist()
        examples.setdefault(corpus.label_texts[label], []).extend(texts[row] for row in rows)
    if not examples:
        return model
    others = np.random.default_rng(0).permutation(len(texts))[:MOST_TEXTS]
    return model.with_labels(examples, texts=[texts[int(row)] for row in others])
