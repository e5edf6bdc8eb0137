"""How each kind of model but linear ones learns further texts; see `learning.py`, which counts them."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
import scipy.sparse as sp
import torch

from megalabel.errors import SettingError
from megalabel.heads.updated import updated_head
from megalabel.linear.update import updated_tree
from megalabel.models.base import Classifier
from megalabel.models.composed import ComposedClassifier
from megalabel.models.extended import ExtendedClassifier
from megalabel.models.further_texts import FurtherTexts, in_columns, in_members
from megalabel.models.hybrid import HybridClassifier, scaled_embeddings, whole_words
from megalabel.models.learning import learn
from megalabel.models.neural import NeuralClassifier
from megalabel.models.relabeled import RelabeledClassifier
from megalabel.models.retrieval import RetrievalClassifier

MOST_LABEL_TEXTS = 4096  # whose scores the update of a head is to change little


@singledispatch
def learn_kind(model: Classifier, further: FurtherTexts) -> None:
    """Learns texts with labels, in place, by what the kind of the model needs."""
    raise SettingError(
        f"partial_fit of a {type(model).__name__}",
        wanted="a linear, neural, retrieval or hybrid model, or one made of these",
        next_step="train again with the new texts",
        where="model",
    )


@learn_kind.register
def _(model: NeuralClassifier, further: FurtherTexts) -> None:
    every = -(-len(model.label_texts) // MOST_LABEL_TEXTS)
    others = model.encode(list(model.label_texts[::every]))
    views, beside = (torch.from_numpy(found).to(model.device) for found in (model.encode(further.inputs), others))
    model.head = updated_head(model.head, views, further.labels, beside, weights=further.weights)
    model.index = None  # of the vectors before


@learn_kind.register
def _(model: RetrievalClassifier, further: FurtherTexts) -> None:
    model.add_rows(further.inputs, _weighted(further))


@learn_kind.register
def _(model: HybridClassifier, further: FurtherTexts) -> None:
    texts, labels, weights = further.inputs, further.labels, further.weights
    learn(model.base_model, further)
    x = model.text.transform(texts)
    words = whole_words(model.text, x)
    if model.joint_trees:
        dense = scaled_embeddings(model.base_model, texts, model.scale)
        model.joint_trees = tuple(updated_tree(tree, words, labels, dense=dense, weights=weights, seed=i)
                                  for i, tree in enumerate(model.joint_trees))  # fmt: skip
    model.word_trees = tuple(updated_tree(tree, x, labels, weights=weights, seed=i)
                             for i, tree in enumerate(model.word_trees))  # fmt: skip
    if model.index is not None and model.index.n_features:
        first = int(model.index.origins.max(initial=-1)) + 1
        origins = np.arange(first, first + len(texts))
        model.index = model.index.with_rows(words, _weighted(further), origins)


@learn_kind.register
def _(model: ComposedClassifier, further: FurtherTexts) -> None:
    for part in model.inner_models().values():
        learn(part, further)


@learn_kind.register
def _(model: ExtendedClassifier, further: FurtherTexts) -> None:
    n_old, ids = len(model.base_model.label_texts), np.arange(len(model.label_texts))
    spaces = model.base_model.label_spaces(further.inputs)
    own = in_columns(further.labels, np.where(ids < n_old, -1, ids - n_old), len(ids) - n_old)
    model.ranker = model.ranker.learned(spaces, own, further.weights)
    learn(model.base_model, further.with_labels(further.labels[:, :n_old]))


@learn_kind.register
def _(model: RelabeledClassifier, further: FurtherTexts) -> None:
    learn(model.base_model, further.with_labels(in_members(further.labels, model.target)))


def _weighted(further: FurtherTexts) -> sp.csr_matrix:
    """The labels with the weights of the texts."""
    if further.weights is None:
        return further.labels
    return (sp.diags_array(further.weights.astype(np.float32)) @ further.labels).tocsr()
