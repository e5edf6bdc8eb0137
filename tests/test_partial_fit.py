"""Models that learn further texts: what is learned, what stays, counts, inputs, errors, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from support.half_trained import (
    DATA,
    FIRST,
    FURTHER,
    KINDS,
    LABELS,
    NAMES,
    NEW_TEXTS,
    TEXTS,
    L,
    further,
    lead,
    made,
)
from untrained import of_bags

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.encoders.bag import Bag
from megalabel.encoders.build import learn_tokenizer
from megalabel.encoders.labels import LabelTexts
from megalabel.errors import DataError, MegalabelError, SettingError
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.inputs.token_store import TokenStore
from megalabel.kernels.core import dispatch
from megalabel.kernels.linear.chunk_weights import weights_of
from megalabel.linear.forest import solve_trees
from megalabel.models.linear import LinearClassifier
from megalabel.models.neural import NeuralClassifier


@pytest.fixture(autouse=True)
def compiled():
    """Few texts would otherwise be solved by the plain body, which takes longer."""
    with dispatch.use("cpu"):
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_true_labels_of_the_texts_score_higher_and_the_folder_holds_it(kind, tmp_path):
    model = made(kind)
    labels = further(model)
    counts = None if model.trained_on is None else model.trained_on.counts.copy()
    before = lead(model, NEW_TEXTS, labels)
    assert model.partial_fit(NEW_TEXTS, labels) is model
    assert lead(model, NEW_TEXTS, labels) > before
    if counts is not None:
        assert model.trained_on.counts.sum() == counts.sum() + sum(map(len, labels))
    model.save(tmp_path / "m")
    again = megalabel.load(tmp_path / "m")
    for a, b in zip(again.topk(NEW_TEXTS[:20], 8).numpy(), model.topk(NEW_TEXTS[:20], 8).numpy(), strict=True):
        assert np.array_equal(a, b)
    again.partial_fit(NEW_TEXTS[:5], labels[:5])  # also what was read, with mapped weights


def test_a_linear_model_comes_close_to_one_that_was_trained_on_all_texts():
    def p1(model):
        best = model.topk(list(DATA.test.texts), 1).numpy()[0][:, 0]
        return float(np.mean([DATA.test.labels.tocsr()[i, label] > 0 for i, label in enumerate(best)]))

    model = made("linear")
    before = p1(model)
    x = model.text.transform(TEXTS)
    options = {"depths": (3,), "cluster_features": 50, "seed": 0, "say": lambda line: None, "beam_size": 8}
    whole = p1(LinearClassifier(model.text, solve_trees(x, LABELS, trees=2, **options), DATA.label_texts))
    after = p1(model.partial_fit(NEW_TEXTS, LABELS[FURTHER]))
    assert after >= before and after >= whole - 0.05


def test_batches_and_forms_of_input_give_nearly_the_same():
    labels = [row.indices.tolist() for row in LABELS[FURTHER]]
    corpus = Corpus.of(NEW_TEXTS, LABELS[FURTHER], NAMES)
    records = [
        {"text": text, "labels": [NAMES[i] for i in own]} for text, own in zip(NEW_TEXTS, labels, strict=True)
    ]
    wanted = made("linear").partial_fit(NEW_TEXTS, LABELS[FURTHER]).topk(NEW_TEXTS, 5).numpy()
    for given in ((NEW_TEXTS, labels), (corpus,), (iter(records),)):
        found = made("linear").partial_fit(*given).topk(NEW_TEXTS, 5).numpy()
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    parts = made("linear").partial_fit(iter(records), batch_size=50)
    assert np.mean(parts.topk(NEW_TEXTS, 1).ids == wanted[0][:, :1]) > 0.9
    assert parts.trained_on.n_texts == len(FIRST) + len(FURTHER)


def test_labels_by_name_in_another_order_and_weights_of_texts():
    order = np.random.default_rng(0).permutation(L)
    shuffled = Corpus.of(NEW_TEXTS, LABELS[FURTHER][:, order], [NAMES[i] for i in order])
    wanted = made("dense").partial_fit(NEW_TEXTS, LABELS[FURTHER]).topk(NEW_TEXTS, 5).numpy()
    found = made("dense").partial_fit(shuffled).topk(NEW_TEXTS, 5).numpy()
    assert np.array_equal(found[0], wanted[0])
    half = np.arange(len(FURTHER)) % 2.0  # texts of weight 0 are not learned
    some = np.flatnonzero(half)
    a = made("dense").partial_fit(NEW_TEXTS, LABELS[FURTHER], weights=half)
    b = made("dense").partial_fit([NEW_TEXTS[i] for i in some], LABELS[FURTHER[some]])
    assert np.array_equal(a.topk(NEW_TEXTS, 5).ids, b.topk(NEW_TEXTS, 5).ids)


def test_nodes_whose_parent_has_no_further_text_and_biases_keep_their_weights():
    model = made("linear")
    old, rows = model.trees, np.flatnonzero(LABELS[:, [3]].toarray().ravel())[:2]
    only = sp.csr_matrix((np.ones(2), ([0, 1], [3, 3])), shape=(2, L))
    model.partial_fit([TEXTS[i] for i in rows], only)
    for before, after in zip(old, model.trees, strict=True):
        level, new = before.levels[-1], after.levels[-1]
        node = int(np.flatnonzero(before.order == 3)[0])
        parent = int(np.searchsorted(level.offsets, node, side="right")) - 1
        for i in range(level.n_chunks):
            nodes = np.arange(level.offsets[i], level.offsets[i + 1])
            change = weights_of(new, np.array([i]), nodes) - weights_of(level, np.array([i]), nodes)
            assert (np.abs(change).sum() > 0) == (i == parent)
        assert all(np.array_equal(a.bias, b.bias) for a, b in zip(before.levels, after.levels, strict=True))
    dense = made("dense")
    bias = dense.head.bias.detach().clone()
    dense.partial_fit(NEW_TEXTS, LABELS[FURTHER])
    assert torch.equal(dense.head.bias, bias)


def test_models_over_bags_of_words_learn_rows():
    model, x = of_bags()
    labels = sp.csr_matrix(
        (np.ones(x.shape[0]), (np.arange(x.shape[0]), np.zeros(x.shape[0], int))), (x.shape[0], 6)
    )
    before = float(np.mean(model.topk(x, 1).ids == 0))
    assert float(np.mean(model.partial_fit(x, labels).topk(x, 1).ids == 0)) > before


def test_models_that_cannot_learn_further_texts_say_so():
    encoder = Bag(learn_tokenizer(NAMES, 300), dim=8, hidden_dim=0)
    side = LabelTexts(TokenStore.build(DATA.label_texts, encoder.tokenizer, 16), encoder, shared=True)
    dual = NeuralClassifier(encoder, DualEncoderHead(L, 8), DATA.label_texts, 16, side).eval().settle()
    narrow = NeuralClassifier(encoder, DenseHead(L, 8, weights="bfloat16"), DATA.label_texts, 16).eval()
    for model in (dual, narrow):
        with pytest.raises(SettingError, match="partial_fit"):
            model.partial_fit(NEW_TEXTS[:3], LABELS[FURTHER[:3]])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((["a text"], [["no such label"]]), "no such label"), ((["a", "b"], [[0]]), "labels of 2 texts"),
        ((["a text"], ["0"]), "labels of text 0"), ((["a text"], [[L]]), "ids from 0"),
        ((["a text"], [[1.5]]), "1.5"), ((["a text"], LABELS[:2]), "labels"), (("a text", [[0]]), "one string"),
        ((["a text"],), "records"), (("a text",), "without labels"), (([{"text": "a"}],), "records"),
        (([{"text": 1, "labels": []}],), "records"), ((DATA, [[0]]), "beside a data set"),
        ((["a text"], 3), "int"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_learned_is_refused(arguments, says):
    model = made("dense")
    with pytest.raises(MegalabelError, match=says):
        model.partial_fit(*arguments)
    for wrong in ([1.0], [np.nan, 1.0], [-1.0, 1.0], "x"):
        with pytest.raises(DataError, match="weights"):
            model.partial_fit(["a", "b"], [[0], [1]], weights=wrong)
    with pytest.raises(SettingError, match="batch_size"):
        model.partial_fit(["a"], [[0]], batch_size=0)


def test_the_command_learns_texts_and_adds_labels(command, tmp_path):
    made("linear").without_labels([NAMES[5]]).save(tmp_path / "m")
    lines = [{"text": TEXTS[i], "labels": [NAMES[j] for j in LABELS[[i]].indices]} for i in FURTHER]
    data = tmp_path / "more.jsonl"
    data.write_text("\n".join(map(json.dumps, lines)))
    status, out, err = command("update", tmp_path / "m", data, "-o", tmp_path / "new")
    assert status == 0, err
    assert f"learned {len(FURTHER)} texts" in out and f"added 1 label, now {L}" in out
    model = megalabel.load(tmp_path / "new")
    assert model.label_texts[L - 1] == NAMES[5] and model.trained_on.counts[L - 1] > 0
    status, out, _ = command("update", tmp_path / "m", data, "-o", tmp_path / "less", "--new-labels", "ignore")
    assert status == 0 and len(megalabel.load(tmp_path / "less").label_texts) == L - 1
    (tmp_path / "other.jsonl").write_text('{"text": "a", "labels": ["x"]}\n')
    new = ["-o", tmp_path / "w"]
    for wrong in (
        [tmp_path / "other.jsonl", *new],
        [data, "-o", data],
        [data],
        [tmp_path / "none", *new],
        [data, *new, "--new-labels", "x"],
    ):
        status, _, err = command("update", tmp_path / "m", *wrong)
        assert status == 2 and err.count("\n") == 1
    assert not (tmp_path / "w").exists()
