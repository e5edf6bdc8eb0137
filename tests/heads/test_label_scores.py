"""The score of one label as a function of the views: that of the ranking, with contributions that sum to it."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from planted import planted
from support.small_recipes import Contrastive

from megalabel.encoders.bag import Bag
from megalabel.encoders.labels import LabelTexts
from megalabel.errors import SettingError
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.label_scores import label_score
from megalabel.heads.lightxml import LightXMLHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.inputs.token_store import TokenStore
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.kernels.candidates.beam import PathScore
from megalabel.labels.tree import LabelTree
from megalabel.models.neural import NeuralClassifier

DATA = planted(n_texts=50)
TEXTS = list(DATA.test.texts)


def untrained_heads():
    """Heads with random weights over views of 12, each as a model with a bag that has bigrams and a block."""
    torch.manual_seed(0)
    n, dim = len(DATA.label_texts), 12
    tree = LabelTree((np.arange(0, n + 1, 4),), np.random.default_rng(0).permutation(n))
    deep = LabelTree((np.arange(0, 17, 4), np.arange(0, n + 1, 4)), np.random.default_rng(1).permutation(n))
    order = torch.randperm(n)
    parts = [DenseHead(24, dim, init_std=1.0), SparseHead(n - 24, dim, fan_in=4, init_scale=4.0, reduction="sum")]
    return {
        "dense in float8": DenseHead(n, dim, bias=True, init_std=1.0, weights="float8"),
        "sparse in groups": SparseHead(n, dim, fan_in=4, group=16, init_scale=4.0),
        **{
            f"cascade {p}": CascadeHead(deep, dim, beams=(3, 4), n_views=1, path_score=p)
            for p in get_args(PathScore)
        },
        "cascade in bfloat16": CascadeHead(tree, dim, beams=(5,), n_views=1, weights="bfloat16"),
        "lightxml": LightXMLHead(tree, dim, candidates=5, bottleneck=6),
        "projection": WithProjection(DenseHead(n, 20, init_std=1.0), dim, activation="gelu"),
        "parts": PartitionedHead(parts, order),
        "dual encoder": DualEncoderHead(n, dim),
    }


HEADS = (
    "dense in float8", "sparse in groups", "cascade label", "cascade label*parent", "cascade path",
    "cascade decayed", "cascade in bfloat16", "lightxml", "projection", "parts", "dual encoder",
)  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_the_contributions_sum_to_the_score_of_every_head(name):
    """The reached labels of a tree, too: the path is followed as the beam follows it."""
    head = untrained_heads()[name]
    tokenizer = learn_tokenizer(TEXTS, 200)
    codes = torch.tensor([5 * 100 + 7, 8 * 100 + 9])
    bag = Bag(tokenizer, dim=12, hidden_dim=16, bigrams=codes.sort().values)
    with torch.no_grad():
        for block in bag.blocks:
            block.narrow.weight.normal_(0, 0.3)
        bag.norm.bias.normal_(0, 0.3)
    side = None
    if isinstance(head, DualEncoderHead):
        side = LabelTexts(TokenStore.build(DATA.label_texts, tokenizer, 16), bag, shared=True)
    model = NeuralClassifier(bag.eval(), head.eval(), DATA.label_texts, 16, side).settle()
    for text in TEXTS[:3]:
        ids, scores = model.topk([text], 64).numpy()
        for rank in (0, int((ids[0] >= 0).sum()) - 1):
            found = model.explain(text, int(ids[0, rank]))
            assert abs(found.error) <= 1e-6 * max(1, abs(found.value))
            value = np.exp(found.value) if found.scale == "log-probability" else found.value
            assert value == pytest.approx(float(scores[0, rank]), rel=1e-3, abs=1e-6)
            assert all(node.kept for node in found.nodes)
        dropped = set(range(64)) - set(ids[0].tolist())
        if dropped:
            assert "at level" in model.explain(text, min(dropped)).why_not[0]


def test_a_head_of_another_kind_is_refused():
    with pytest.raises(SettingError, match="register"):
        label_score(Contrastive(3, 4), 0)
