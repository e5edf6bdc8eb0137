"""Models with random weights, and one over bags of words, for what does not depend on what they learned."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from megalabel.data.texts import Texts
from megalabel.encoders.bag import Bag
from megalabel.heads.dense import DenseHead
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.linear.forest import solve_trees
from megalabel.models.linear import LinearClassifier
from megalabel.models.neural import NeuralClassifier


def untrained(names: list[str], words: str = "a b c d") -> NeuralClassifier:
    """A bag of width 8 over the words, and a dense head over the names."""
    torch.manual_seed(0)
    encoder = Bag(learn_tokenizer([words], 100), dim=8, hidden_dim=0)
    head = DenseHead(len(names), 8, init_std=1.0)
    return NeuralClassifier(encoder.eval(), head.eval(), Texts.from_strings(names), 16)


def of_bags() -> tuple[LinearClassifier, sp.csr_matrix]:
    """A linear model over bags of words with 6 labels, and its 60 training rows."""
    x = sp.random(60, 20, density=0.3, format="csr", dtype=np.float32, random_state=0)
    labels = sp.csr_matrix(np.eye(6, dtype=np.float32)[np.arange(60) % 6])
    bags = BagOfWords(20)
    fitted = bags.transform(x), labels
    trees = solve_trees(*fitted, trees=1, depths=(1,), cluster_features=10, seed=0, say=lambda line: None)
    return LinearClassifier(bags, trees, Texts.from_strings(list("abcdef"))), x
