"""Lists of allowed and denied labels: exact rankings of the labels that are left, for every kind of model."""

import numpy as np
import pytest
import torch
from planted import planted
from support.known import Known
from untrained import untrained

from megalabel.data.texts import Texts
from megalabel.errors import SettingError
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.lightxml import LightXMLHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.labels.tree import LabelTree
from megalabel.models.chunked import ChunkedClassifier
from megalabel.models.ensemble import Ensemble
from megalabel.models.neural import NeuralClassifier
from megalabel.recipes.linear import linear

L, DIM = 3000, 8  # so that lists of up to 2,048 labels are few, and longer ones are not
TEXTS = ["a", "b c", "d a", "c", "b d d"]
FEW = np.sort(np.random.default_rng(1).choice(L, 20, replace=False))
MANY = np.sort(np.random.default_rng(2).choice(L, 2500, replace=False))


def tree():
    order = np.random.default_rng(3).permutation(L)
    return LabelTree((np.array([0, 3, 7, 10]), np.arange(0, L + 1, L // 10)), order)


def heads():
    torch.manual_seed(0)
    narrow = DenseHead(L, DIM, bias=True, weights="bfloat16", init_std=1.0)
    sparse = SparseHead(L, DIM, fan_in=4, group=16, init_scale=2.0)
    dual = DualEncoderHead(L, DIM)
    dual.label_vectors.copy_(torch.nn.functional.normalize(torch.randn(L, DIM), dim=1))
    made = {
        "dense": DenseHead(L, DIM, bias=True, init_std=1.0),
        "bfloat16": narrow,
        "sparse": sparse,
        "dual": dual,
        "projection": WithProjection(DenseHead(L, 5, init_std=1.0), DIM, activation="relu"),
        "partitioned": PartitionedHead(
            [DenseHead(1000, DIM, init_std=1.0), SparseHead(L - 1000, DIM, fan_in=4, loss="bce")],
            torch.randperm(L),
        ),
        "cascade": CascadeHead(tree(), DIM, beams=(3, 10), n_views=1, path_score="path"),
    }
    for bias in (*made["cascade"].biases, made["dense"].bias, sparse.bias):
        torch.nn.init.normal_(bias.data)
    return made


def model_of(head):
    plain = untrained(["x"])
    return NeuralClassifier(plain.encoder, head.eval(), Texts.numbers(L), plain.max_length)


def filtered(model, allow, k):
    """The k best of some labels by a ranking of all labels."""
    ids, scores = model.topk(TEXTS, L).numpy()
    inside = np.isin(ids, allow)
    return [(ids[i][row][:k].tolist(), scores[i][row][:k]) for i, row in enumerate(inside)]


@pytest.mark.parametrize("name", heads())
def test_allowed_labels_are_ranked_exactly_by_every_head(name):
    model = model_of(heads()[name])
    if name == "cascade":  # the same, with beams that reach few labels
        exact, model = model, model_of(CascadeHead(tree(), DIM, beams=(1, 1), n_views=1, path_score="path"))
        model.head.load_state_dict(exact.head.state_dict())
        assert (model.topk(TEXTS, L).ids < 0).any()
    else:
        exact = model
    for allow in (FEW,) if name == "cascade" else (FEW, MANY):  # longer lists filter what beams reach
        found = model.predict(TEXTS, 6, allow=allow.tolist())
        for i, (ids, scores) in enumerate(filtered(exact, allow, 6)):
            assert found.ids[i].tolist() == ids
            np.testing.assert_allclose(found.scores[i], scores, rtol=2e-5, atol=1e-6)


def test_labels_of_linear_trees_are_scored_by_their_paths(tmp_path):
    data = planted(n_labels=64, n_texts=300, n_test=20)
    made = {
        size: linear(data, clusters=(4, 16), beam_size=size, c=1.0, char_ngrams="no").solve(lambda line: None)
        for size in (1, 16)
    }
    allow, texts = np.arange(0, 64, 3), data.test.texts[:20]
    found = made[1].predict(texts, 5, allow=allow.tolist(), probabilities=False)
    ids, scores = made[16].topk(texts, 64).numpy()
    for i in range(20):
        inside = np.isin(ids[i], allow)
        np.testing.assert_allclose(found.scores[i], scores[i][inside][:5], rtol=1e-4, atol=1e-12)
    few = made[1].restricted(np.array([5]))
    assert few.topk(texts, 1).ids.tolist() == [[0]] * 20
    assert list(few.label_texts) == [data.label_texts[5]]


def test_parts_of_models_are_cut_too():
    made = heads()
    parts = [model_of(made["dense"]), model_of(made["sparse"])]
    for model in (Ensemble(parts), ChunkedClassifier(parts[0], chunking())):
        cut = model.restricted(FEW)
        assert type(cut) is type(model)
        assert cut.topk(TEXTS, 30).numpy()[0].max() == len(FEW) - 1


def test_changed_labels_are_scored_alone_too():
    base = model_of(heads()["dense"])
    model = base.merge_labels({"both": [3, 2900]}).without_labels([0, 7])
    allow = [1, 2, 40, 2500]  # 2 is "both"
    found = model.predict(TEXTS, 4, allow=["both", *(model.label_texts[i] for i in (1, 40, 2500))])
    ids, scores = model.topk(TEXTS, len(model.label_texts)).numpy()
    for row in range(len(TEXTS)):
        inside = np.isin(ids[row], allow)
        assert found.ids[row].tolist() == ids[row][inside].tolist()
        np.testing.assert_allclose(found.scores[row], scores[row][inside], rtol=1e-5)
    cut = model.restricted(np.array(allow))
    assert list(cut.label_texts) == [model.label_texts[i] for i in allow] and len(cut.base_model.label_texts) == 5


def chunking():
    from megalabel.inputs.chunks import Chunking

    return Chunking(unit="words", size=2)


def test_a_head_that_cannot_be_cut_is_read_deeper():
    model = model_of(light())
    assert model.restricted(FEW) is None
    found = model.predict(TEXTS, 4, allow=FEW.tolist())
    for i, (ids, _) in enumerate(filtered(model, FEW, 4)):
        assert [label for label in found.ids[i].tolist() if label >= 0] == ids


def light():
    offsets = np.arange(0, L + 1, L // 10)
    return LightXMLHead(LabelTree((offsets,), np.arange(L)), DIM, candidates=10)


def test_rankings_are_read_only_as_deep_as_needed():
    model = Known(5000)
    allow = np.unique(np.concatenate([model.row(i)[0][::2] for i in range(40)]))
    texts = [str(i) for i in range(40)]
    found = model.predict(texts, 5, allow=allow.tolist())
    for i in range(40):
        ids = model.row(i)[0]
        assert found.ids[i].tolist() == ids[np.isin(ids, allow)][:5].tolist()
    assert model.deepest < 5000


def test_each_text_may_have_its_own_lists():
    model = model_of(heads()["dense"])
    allow = [[1, 2, 3], None, FEW.tolist(), [], [7]]
    deny = [[2], model.topk(TEXTS[1:2], 3).ids[0].tolist(), None, None, [8]]
    found = model.predict(TEXTS, 4, allow=allow, deny=deny)
    assert set(found.ids[0].tolist()) == {1, 3, -1}
    assert found.ids[1].tolist() == model.topk(TEXTS[1:2], 7).ids[0, 3:].tolist()
    assert set(found.ids[2].tolist()) <= set(FEW.tolist())
    assert found.ids[3].tolist() == [-1] * 4
    assert found[4] == [("7", found.scores[4, 0])]


@pytest.mark.parametrize("n", [1, 4000])
def test_denied_labels_leave_the_others_in_their_order(n):
    model = Known(5000)
    deny = np.concatenate([model.row(0)[0][:1], np.arange(1, n)])
    found = model.predict(["0", "1"], 8, deny=deny.tolist())
    for i in range(2):
        ids = model.row(i)[0]
        assert found.ids[i].tolist() == ids[~np.isin(ids, deny)][:8].tolist()
    most = model.predict(["0"], 8, deny=sorted(set(range(5000)) - set(model.row(0)[0][5:7].tolist())))
    assert [label for label in most.ids[0].tolist() if label >= 0] == model.row(0)[0][5:7].tolist()


@pytest.mark.parametrize(
    "allow",
    ["1", [5000], [-1], [True], [1.5], ["no such label"], [[1]], [[1], 2], 7, {"a": 1}, [None, [1]]],
    ids=str,
)
def test_other_lists_are_refused(allow):
    with pytest.raises(SettingError):
        Known(5000).predict(["0", "1", "2"], allow=allow)


def test_names_that_several_labels_have_allow_all_of_them_and_misspelled_ones_are_told():
    model = Known(4)
    model.label_texts = Texts.from_strings(["cat", "dog", "cat", "horse"])
    model.row = lambda number: (np.arange(4), np.array([0.9, 0.5, 0.4, 0.1], np.float32))
    assert model.predict(["0"], 4, allow=["cat"]).ids.tolist() == [[0, 2, -1, -1]]
    with pytest.raises(SettingError, match="Did you mean 'horse'"):
        model.predict(["0"], allow=["hoarse"])
