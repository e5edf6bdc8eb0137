"""The part of `Classifier.partial_fit` that learns which labels texts do not have.

Only linear classifiers learn it of single labels. For a text with right labels, the loss of a neural head takes
all others as wrong anyway, rejected ones included; texts without right labels teach it nothing. Rows of a search
hold right labels alone.
"""

from __future__ import annotations

from functools import singledispatch

from megalabel.linear.rejected import rejecting_tree
from megalabel.models.base import Classifier
from megalabel.models.composed import ComposedClassifier
from megalabel.models.extended import ExtendedClassifier
from megalabel.models.further_texts import FurtherTexts, in_members
from megalabel.models.hybrid import HybridClassifier, scaled_embeddings, whole_words
from megalabel.models.linear import LinearClassifier
from megalabel.models.relabeled import RelabeledClassifier


@singledispatch
def reject(model: Classifier, further: FurtherTexts) -> None:
    """Learns that texts do not have the labels `further.labels`, in place; other kinds of models stay."""


def learns_rejected(model: Classifier) -> bool:
    """Whether `reject` changes a model of this kind."""
    inner = model.inner_models().values() if isinstance(model, ComposedClassifier) else ()
    return isinstance(model, LinearClassifier | HybridClassifier) or any(map(learns_rejected, inner))


@reject.register
def _(model: LinearClassifier, further: FurtherTexts) -> None:
    x, labels = model.text.transform(further.inputs), further.labels
    model.trees = tuple(rejecting_tree(tree, x, labels, weights=further.weights) for tree in model.trees)


@reject.register
def _(model: HybridClassifier, further: FurtherTexts) -> None:
    reject(model.base_model, further)
    labels, weights = further.labels, further.weights
    x = model.text.transform(further.inputs)
    if model.joint_trees:
        words, dense = whole_words(model.text, x), scaled_embeddings(model.base_model, further.inputs, model.scale)
        model.joint_trees = tuple(
            rejecting_tree(tree, words, labels, dense=dense, weights=weights) for tree in model.joint_trees
        )
    model.word_trees = tuple(rejecting_tree(tree, x, labels, weights=weights) for tree in model.word_trees)


@reject.register
def _(model: ComposedClassifier, further: FurtherTexts) -> None:
    for part in model.inner_models().values():
        reject(part, further)


@reject.register
def _(model: ExtendedClassifier, further: FurtherTexts) -> None:
    n_old = len(model.base_model.label_texts)
    spaces = model.base_model.label_spaces(further.inputs)
    model.ranker = model.ranker.rejecting(spaces, further.labels[:, n_old:], further.weights)
    reject(model.base_model, further.with_labels(further.labels[:, :n_old]))


@reject.register
def _(model: RelabeledClassifier, further: FurtherTexts) -> None:
    reject(model.base_model, further.with_labels(in_members(further.labels, model.target)))
