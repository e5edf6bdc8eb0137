"""A small model of each kind, for what holds whatever they learned."""

from __future__ import annotations

import numpy as np
import torch

from megalabel.data.corpus import Corpus
from megalabel.encoders.bag import Bag
from megalabel.encoders.labels import LabelTexts
from megalabel.heads.base import Head
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.lightxml import LightXMLHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.inputs.chunks import Chunking
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.token_store import TokenStore
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.labels.tree import LabelTree
from megalabel.linear.forest import solve_trees
from megalabel.models.base import Classifier
from megalabel.models.chunked import ChunkedClassifier
from megalabel.models.ensemble import Ensemble
from megalabel.models.hybrid import HybridClassifier
from megalabel.models.linear import LinearClassifier
from megalabel.models.mixture import Mixture
from megalabel.models.neural import NeuralClassifier
from megalabel.models.retrieval import RetrievalClassifier
from megalabel.retrieval.index import RetrievalIndex

DIM = 12


def every_model(data: Corpus) -> dict[str, Classifier]:
    """The models by name; neural ones have random weights."""
    torch.manual_seed(0)
    n, names, texts = data.n_labels, data.label_texts, list(data.train.texts)
    tokenizer = learn_tokenizer([*texts, *names], 500)

    def neural(head: Head) -> NeuralClassifier:
        encoder = Bag(tokenizer, dim=DIM, hidden_dim=0)
        side = None
        if isinstance(head, DualEncoderHead):
            side = LabelTexts(TokenStore.build(names, tokenizer, 16), encoder, shared=True)
        return NeuralClassifier(encoder, head, names, 16, side).eval().settle()

    found: dict[str, Classifier] = {name: neural(head) for name, head in _heads(n).items()}
    text, x = SparseText.learn_rows(texts)
    trees = solve_trees(
        x, data.train.labels, trees=2, depths=(3,), cluster_features=50, seed=0, say=lambda line: None, beam_size=3
    )
    index = RetrievalIndex.build(x, data.train.labels.tocsr(), np.arange(len(texts)))
    found["linear"] = LinearClassifier(text, trees, names)
    found["retrieval"] = RetrievalClassifier(text, index, Mixture.from_weights([1, 1]), names)
    found["hybrid"] = HybridClassifier(found["dense"], text, (), trees, 1.0, Mixture.from_weights([1, 2]))
    found["ensemble"] = Ensemble([found["linear"], found["sparse"]])
    found["chunked"] = ChunkedClassifier(found["linear"], Chunking(3, "words"))
    found["indexed"] = found["dense"].with_index("exact", texts[:50])
    found["extended"] = found["dense"].with_labels({"new": ["w1a w1b"], "newer": ["w2a"]}, texts=texts[:50])
    return found


def _heads(n: int) -> dict[str, Head]:
    """Heads over n labels by name."""
    order = np.random.default_rng(0).permutation(n)
    tree = LabelTree((np.arange(0, n + 1, 5),), order)
    parts = [DenseHead(10, DIM, init_std=1.0, bias=True), SparseHead(n - 10, DIM, fan_in=6, loss="bce")]
    return {
        "dense": DenseHead(n, DIM, init_std=1.0, bias=True),
        "sparse": SparseHead(n, DIM, fan_in=6, init_scale=3.0),
        "cascade": CascadeHead(tree, DIM, beams=(3,), n_views=1),
        "lightxml": LightXMLHead(tree, DIM, candidates=3),
        "partitioned": PartitionedHead(parts, torch.from_numpy(order)),
        "projection": WithProjection(SparseHead(n, 20, fan_in=6, init_scale=3.0), DIM),
        "dual": DualEncoderHead(n, DIM),
    }
