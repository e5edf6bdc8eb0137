"""The graphs of heads and encoders rank as these do, before any export; other kinds are refused."""

import numpy as np
import pytest
import torch
from planted import planted
from random_parts import DIM, N_LABELS, bag, bert, cascade, dense, dual, sparse
from topk_agree import assert_topk_agree
from untrained import untrained

from megalabel.encoders.frozen import Frozen
from megalabel.encoders.readout import Readout, first_token
from megalabel.errors import SettingError
from megalabel.heads.in_batch import InBatchHead
from megalabel.heads.lightxml import LightXMLHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.inputs.batches import pad
from megalabel.labels.tree import LabelTree
from megalabel.models.ensemble import Ensemble
from megalabel.onnx.comparison import difference
from megalabel.onnx.encoders import encoder_graph
from megalabel.onnx.graph import graph_of
from megalabel.onnx.heads import head_graph
from megalabel.onnx.searching import positions_in
from megalabel.types import TopK

K = 10


def ngame() -> InBatchHead:
    """A head of `ngame` with random label vectors."""
    head = InBatchHead(N_LABELS, DIM)
    head.register_buffer("label_vectors", torch.nn.functional.normalize(torch.randn(N_LABELS, DIM), dim=1))
    return head


HEADS = {
    "dense": dense,
    "dense in float8": lambda: dense(weights="float8"),
    "dual encoder": dual,
    "dual encoder of ngame": lambda: ngame().for_prediction(),
    "sparse": sparse,
    "sparse in groups": lambda: sparse(group=16),
    "sparse groups, the last one smaller": lambda: sparse(N_LABELS - 4, group=16, weights="bfloat16"),
    "projection": lambda: WithProjection(sparse(), DIM, activation="gelu"),
    "partitioned": lambda: PartitionedHead(
        [dense(8, reduction="mean"), sparse(N_LABELS - 8)], torch.randperm(N_LABELS)
    ),
    "cascade": cascade,
    "exact cascade": lambda: cascade(beams=(4, 16)),
    "cascade of paths": lambda: cascade("path"),
    "decayed cascade": lambda: cascade("decayed", (1, 3)),
    "cascade of labels": lambda: cascade("label", (3, 16)),
    "cascade that reaches few labels": lambda: cascade("label*parent", (1, 1)),
    "cascade with views": lambda: cascade(n_views=3),
}


@pytest.mark.parametrize("chunk", [1 << 16, 16])
@pytest.mark.parametrize("name", HEADS)
def test_the_graph_of_a_head_ranks_as_the_head_does(name, chunk):
    torch.manual_seed(0)
    head = HEADS[name]().eval()
    views = torch.randn(50, head.n_views, DIM)
    scores, labels = head_graph(head, K, chunk)(views)
    assert_topk_agree(TopK(labels, scores.detach()), head.topk(views, K))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 100])
def test_a_binary_search_finds_every_number_that_is_there(n):
    ascending = torch.from_numpy(np.sort(np.random.default_rng(n).choice(1000, n, replace=False)))
    values = torch.arange(-1, 1001).view(2, -1)
    found = positions_in(ascending, values)
    assert torch.equal(found, torch.searchsorted(ascending, values).clamp(max=n - 1))


ENCODERS = {
    "bag": lambda data: bag(data, bigrams=False),
    "bag with bigrams": bag,
    "wide bag of views": lambda data: bag(data, n_views=3, width=24),
    "frozen": lambda data: Frozen(bert(data), hidden_dim=8).eval(),
    "transformer with readouts": lambda data: bert(data, readouts=[first_token(0.5), Readout()], norm=True),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_graph_of_an_encoder_gives_its_views(name):
    data = planted()
    encoder, texts = ENCODERS[name](data), ["", "w0a", *data.test.texts]
    tokens, mask = pad([np.asarray(ids) for ids in encoder.tokenizer.encode(texts, 12)], encoder.tokenizer.pad_id)
    with torch.no_grad():
        torch.testing.assert_close(encoder_graph(encoder, 12)(tokens, mask), encoder(tokens, mask))


def test_models_of_other_kinds_are_refused():
    with pytest.raises(SettingError, match="Ensemble"):
        graph_of(Ensemble([untrained(["a", "b"]), untrained(["a", "b"])]), 2)
    model = untrained(["a", "b", "c"])
    model.head = LightXMLHead(LabelTree((np.array([0, 1, 3]),), np.arange(3)), 8, candidates=2)
    with pytest.raises(SettingError, match="LightXMLHead"):
        graph_of(model, 2)
    long = bert(planted(), windows=4, window_length=8)
    with pytest.raises(SettingError, match="windows"):
        encoder_graph(long, 24)


def test_rankings_differ_by_their_scores_and_not_by_the_order_of_ties():
    one = TopK(np.array([[3, 1, 2]]), np.array([[0.5, 0.4, 0.4]], np.float32))
    tied = TopK(np.array([[3, 2, 7]]), np.array([[0.5, 0.4, 0.4]], np.float32))
    other = TopK(np.array([[3, 1, 9]]), np.array([[0.5, 0.4, 0.2]], np.float32))
    assert difference(one, tied) == (0.0, 0.0)
    assert difference(one, other)[0] == pytest.approx(0.2)
    assert difference(one, one) == (0.0, 1.0)
