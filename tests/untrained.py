"""A model with random weights, for what does not depend on them."""

from __future__ import annotations

import torch

from megalabel.data.texts import Texts
from megalabel.encoders.bag import Bag
from megalabel.heads.dense import DenseHead
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.models.neural import NeuralClassifier


def untrained(names: list[str], words: str = "a b c d") -> NeuralClassifier:
    """A bag of width 8 over the words, and a dense head over the names."""
    torch.manual_seed(0)
    encoder = Bag(learn_tokenizer([words], 100), dim=8, hidden_dim=0)
    head = DenseHead(len(names), 8, init_std=1.0)
    return NeuralClassifier(encoder.eval(), head.eval(), Texts.from_strings(names), 16)
