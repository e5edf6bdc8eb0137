"""Heads and encoders with random weights, whose scores are far from each other."""

from __future__ import annotations

import numpy as np
import torch

from megalabel.data.corpus import Corpus
from megalabel.encoders.bag import Bag
from megalabel.encoders.transformer import Transformer
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.sparse import SparseHead
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.labels.tree import LabelTree

N_LABELS, DIM = 64, 16


def tree() -> LabelTree:
    """4 clusters, 16 clusters of unequal sizes, and the labels in an order of their own."""
    random = np.random.default_rng(0)
    sizes = random.multinomial(N_LABELS - 16, np.full(16, 1 / 16)) + 1
    offsets = np.arange(0, 17, 4), np.concatenate([[0], sizes.cumsum()])
    return LabelTree(offsets, random.permutation(N_LABELS))


def cascade(path_score: str = "label*parent", beams: tuple[int, int] = (2, 5), n_views: int = 1) -> CascadeHead:
    head = CascadeHead(tree(), DIM, beams=beams, n_views=n_views, path_score=path_score)
    with torch.no_grad():
        for bias in head.biases:
            bias.normal_()
    return head


def sparse(n_labels: int = N_LABELS, group: int = 1, weights: str = "float32") -> SparseHead:
    head = SparseHead(n_labels, DIM, fan_in=6, group=group, weights=weights)
    torch.nn.init.normal_(head.bias)
    return head


def dense(n_labels: int = N_LABELS, **options) -> DenseHead:
    return DenseHead(n_labels, DIM, bias=True, init_std=1.0, **options)


def dual() -> DualEncoderHead:
    head = DualEncoderHead(N_LABELS, DIM)
    head.label_vectors.normal_()
    return head


def bag(data: Corpus, bigrams: bool = True, **options) -> Bag:
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(data.train.texts, 200)
    n = tokenizer.vocabulary_size
    pairs = torch.unique(torch.randint(2, n, (1500,)) * n + torch.randint(2, n, (1500,))) if bigrams else None
    weights = torch.rand(n + (0 if pairs is None else len(pairs)))
    encoder = Bag(tokenizer, dim=DIM, bigrams=pairs, weights=weights, hidden_dim=8, **options)
    torch.nn.init.normal_(encoder.table.weight)
    for block in encoder.blocks:
        torch.nn.init.normal_(block.narrow.weight)
    return encoder.eval()


def bert(data: Corpus, **options) -> Transformer:
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(data.train.texts, 200)
    config = {
        "model_type": "bert", "vocab_size": tokenizer.vocabulary_size, "hidden_size": DIM, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 40,
    }  # fmt: skip
    return Transformer.untrained(config, tokenizer, **options).eval()
