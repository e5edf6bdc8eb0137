"""Models of many kinds that have learned half of some planted texts, and the texts that they can learn further."""

from __future__ import annotations

import numpy as np
import torch
from planted import planted

from megalabel.encoders.bag import Bag
from megalabel.encoders.build import learn_tokenizer
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.inputs.sparse_text import SparseText
from megalabel.labels.tree import LabelTree
from megalabel.linear.forest import solve_trees
from megalabel.models.ensemble import Ensemble
from megalabel.models.hybrid import HybridClassifier
from megalabel.models.linear import LinearClassifier
from megalabel.models.mixture import Mixture
from megalabel.models.neural import NeuralClassifier
from megalabel.models.retrieval import RetrievalClassifier
from megalabel.models.trained_on import TrainedOn
from megalabel.retrieval.index import RetrievalIndex

DATA = planted(n_labels=40, n_texts=400)
N, L = len(DATA.train), DATA.n_labels
FIRST, FURTHER = np.arange(0, N, 2), np.arange(1, N, 2)
TEXTS, LABELS = list(DATA.train.texts), DATA.train.labels.tocsr()
NAMES = list(DATA.label_texts)
NEW_TEXTS = [TEXTS[i] for i in FURTHER]
KINDS = (
    "linear",
    "dense",
    "sparse",
    "cascade",
    "hybrid",
    "ensemble",
    "retrieval",
    "extended",
    "similar",
    "merged",
)


def made(kind):
    """A model of a kind that has learned half of the texts; neural ones have random encoders."""
    torch.manual_seed(0)
    dim, tokenizer = 16, learn_tokenizer([*TEXTS, *NAMES], 500)

    def neural(head, side=None):
        encoder = Bag(tokenizer, dim=dim, hidden_dim=0)
        return NeuralClassifier(encoder, head, DATA.label_texts, 16, side).eval().settle()

    if kind == "dense":
        return neural(DenseHead(L, dim, init_std=0.0, bias=True))
    if kind == "sparse":
        return neural(SparseHead(L, dim, fan_in=8, init_scale=0.0, loss="bce"))
    if kind == "cascade":
        tree = LabelTree((np.arange(0, L + 1, 5),), np.random.default_rng(0).permutation(L))
        return neural(CascadeHead(tree, dim, beams=(8,), n_views=1))
    text, x = SparseText.learn_rows([TEXTS[i] for i in FIRST])
    if kind == "retrieval":
        index = RetrievalIndex.build(x, LABELS[FIRST], FIRST)
        return RetrievalClassifier(text, index, Mixture.from_weights([1, 1]), DATA.label_texts)
    trees = solve_trees(
        x, LABELS[FIRST], trees=2, depths=(3,), cluster_features=50, seed=0, say=lambda line: None, beam_size=8
    )
    linear = LinearClassifier(text, trees, DATA.label_texts)
    linear.trained_on = TrainedOn("planted", len(FIRST), np.bincount(LABELS[FIRST].indices, minlength=L))
    linear.trained_on = linear.trained_on.with_pairs(LABELS[FIRST])
    if kind == "hybrid":
        return HybridClassifier(made("dense"), text, (), trees, 1.0, Mixture.from_weights([1, 1]))
    if kind == "ensemble":
        return Ensemble([linear, made("dense")])
    if kind == "extended":
        return linear.with_labels({"new": ["w1a w1b"]}, texts=NEW_TEXTS[:50])
    if kind == "similar":
        return made("dense").with_labels({"new": ["w1a w1b"]}, texts=NEW_TEXTS[:50])
    if kind == "merged":
        return linear.merge_labels({"both": [3, 7]}).without_labels([NAMES[0]])
    return linear


def further(model):
    """The further texts' labels by name, those that the model has."""
    known = set(model.label_texts)
    return [[NAMES[i] for i in row.indices if NAMES[i] in known] for row in LABELS[FURTHER]]


def lead(model, texts, labels):
    """By how much the scores of true labels lead those of the others, on average."""
    ids, scores = model.topk(texts, len(model.label_texts)).numpy()
    names, least = list(model.label_texts), scores[np.isfinite(scores)].min()
    found = np.full(scores.shape, least)
    np.put_along_axis(found, np.maximum(ids, 0), np.where(ids < 0, least, scores), axis=1)
    true = np.zeros(found.shape, bool)
    for i, own in enumerate(labels):
        true[i, [names.index(label) for label in own]] = True
    return float(found[true].mean() - found[~true].mean())
