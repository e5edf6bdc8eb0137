"""`Classifier.partial_fit`: texts are learned in batches and counted; only linear models do it without torch."""

from __future__ import annotations

from typing import Any

from megalabel.linear.update import updated_tree
from megalabel.models.base import Classifier
from megalabel.models.capabilities import module
from megalabel.models.further_texts import FurtherTexts
from megalabel.models.linear import LinearClassifier
from megalabel.models.texts_to_learn import batches_of


def partial_fit(
    model: Classifier, texts: Any, labels: Any, *, rejected: Any, weights: Any, batch_size: int
) -> None:
    """Does what `Classifier.partial_fit` says; its arguments and errors are those."""
    for further in batches_of(model, texts, labels, rejected, weights, batch_size):
        learn(model, further)
        wrong = further.wrong()
        if wrong.labels.nnz:
            module("rejecting").reject(model, wrong)


def learn(model: Classifier, further: FurtherTexts) -> None:
    """Learns some texts, those with labels, and counts them; in place."""
    further = further.learnable()
    if further.labels.shape[0]:
        if isinstance(model, LinearClassifier):
            _learn_trees(model, further)
        else:
            module("learning_kinds").learn_kind(model, further)
        if model.trained_on is not None:
            model.trained_on = model.trained_on.with_texts(further.labels)


def _learn_trees(model: LinearClassifier, further: FurtherTexts) -> None:
    x, labels = model.text.transform(further.inputs), further.labels
    model.trees = tuple(updated_tree(tree, x, labels, weights=further.weights, seed=i)
                        for i, tree in enumerate(model.trees))  # fmt: skip
