"""Feedback on predictions: rejected labels score lower, others as before; files of the server, and wrong ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from support.half_trained import FURTHER, LABELS, NAMES, NEW_TEXTS, L, made

import megalabel
from megalabel.data.feedback import is_feedback, read_feedback
from megalabel.errors import DataError, SettingError
from megalabel.kernels.core import dispatch
from megalabel.kernels.linear.chunk_weights import weights_of
from megalabel.models.rejecting import learns_rejected

SOME = NEW_TEXTS[:12]


@pytest.fixture(autouse=True)
def compiled():
    """Few texts would otherwise be solved by the plain body, which takes longer."""
    with dispatch.use("cpu"):
        yield


def scores(model, texts=SOME):
    """The score of each label of each text, -inf where a tree does not reach it."""
    ids, values = model.topk(texts, len(model.label_texts)).numpy()
    found = np.full(values.shape, -np.inf, np.float32)
    np.put_along_axis(found, np.where(ids < 0, 0, ids), np.where(ids < 0, -np.inf, values), axis=1)
    return found


@pytest.mark.parametrize("kind", ["linear", "hybrid", "ensemble", "extended", "merged"])
def test_the_scores_of_rejected_labels_fall(kind, tmp_path):
    model = made(kind)
    before, best = scores(model), model.topk(SOME, 1).ids[:, 0]
    assert learns_rejected(model)
    model.partial_fit(SOME, [[]] * len(SOME), rejected=[[int(i)] for i in best])
    rows = np.arange(len(SOME))
    after = scores(model)
    assert (after[rows, best] <= before[rows, best]).all()
    assert (after[rows, best] < before[rows, best]).mean() > 0.8
    model.save(tmp_path / "m")
    assert np.array_equal(scores(megalabel.load(tmp_path / "m")), after)


def test_the_classifiers_of_other_labels_and_of_clusters_stay():
    model = made("linear")
    old = model.trees
    model.partial_fit(SOME[:2], [[], []], rejected=[[3], []])
    for before, after in zip(old, model.trees, strict=True):
        node = int(np.flatnonzero(before.order == 3)[0])
        every, nodes = np.arange(before.levels[-1].n_chunks), np.arange(L)
        change = weights_of(after.levels[-1], every, nodes) - weights_of(before.levels[-1], every, nodes)
        change.eliminate_zeros()
        assert set(np.flatnonzero(np.diff(change.indptr))) == {node}
        assert all(a is b for a, b in zip(before.levels[:-1], after.levels[:-1], strict=True))


def test_an_added_label_learns_that_it_was_rejected():
    model = made("extended")
    text = ["w1a w1b"]
    before = scores(model, text)
    model.partial_fit(text, [[]], rejected=[["new"]])
    after = scores(model, text)
    assert after[0, L] < before[0, L] and np.array_equal(after[0, :L], before[0, :L])


def test_counts_know_right_labels_alone_and_neural_models_learn_these():
    model = made("linear")
    counts = model.trained_on.counts.copy()
    model.partial_fit(SOME, [[0]] * len(SOME), rejected=[[1]] * len(SOME))
    assert (model.trained_on.counts - counts).tolist() == [len(SOME)] + [0] * (L - 1)
    a, b = made("dense"), made("dense")
    assert not learns_rejected(a)
    right = LABELS[FURTHER[:12]]
    a.partial_fit(SOME, right, rejected=sp.csr_matrix(right.shape))
    b.partial_fit([*SOME, "w1a"], sp.vstack([right, sp.csr_matrix((1, L))]), rejected=[[]] * 12 + [[1]])
    assert np.array_equal(scores(a), scores(b))


def test_wrong_rejections_are_refused():
    model = made("linear")
    for labels, rejected in (([[0]], [[0]]), ([[0]], [["none"]]), ([[0]], [[L]]), ([[0]], []), ([[0]], ["w"])):
        with pytest.raises(DataError):
            model.partial_fit(["a text"], labels, rejected=rejected)
    with pytest.raises(DataError, match="rejected"):
        model.partial_fit([{"text": "a", "labels": [NAMES[0]], "rejected": [NAMES[0]]}])
    with pytest.raises(SettingError):
        model.partial_fit([{"text": "a", "labels": [NAMES[0]]}], rejected=[[1]])


def test_the_command_learns_what_the_server_stored(command, tmp_path):
    model = made("linear")
    model.save(tmp_path / "m")
    best = [model.label_texts[int(i)] for i in model.topk(SOME, 1).ids[:, 0]]
    lines = [{"text": text, "labels": [], "rejected": [name], "time": "2026-11-30T23:58:06+00:00", "model": "m"}
             for text, name in zip(SOME, best, strict=True)]  # fmt: skip
    lines[0] = {**lines[0], "labels": ["quite new", NAMES[0]], "rejected": ["gone"]}
    data = tmp_path / "feedback.jsonl"
    data.write_text("\n".join(map(json.dumps, [{**lines[1], "labels": ["old line"]}, *lines])))
    status, out, err = command("update", tmp_path / "m", data, "-o", tmp_path / "new")
    assert status == 0, err
    assert "learned 1 text of feedback.jsonl, and 11 rejected labels; left out 1 name" in out
    assert f"added 1 label, now {L + 1}" in out
    found = megalabel.load(tmp_path / "new")
    assert found.label_texts[L] == "quite new"
    now, before = scores(found), scores(model)
    rows, ids = np.arange(1, 12), [NAMES.index(name) for name in best[1:]]
    assert (now[rows, ids] < before[rows, ids]).mean() > 0.8
    status, out, err = command("update", tmp_path / "m", data, "-o", tmp_path / "less", "--new-labels", "ignore")
    assert status == 0 and len(megalabel.load(tmp_path / "less").label_texts) == L, err


@pytest.mark.parametrize(
    "line",
    ['{"text": "a", "labels": ["x"], "rejected": ["y"]}', '{"text": "a", "labels": "x", "rejected": []}', "{",
     '{"text": 1, "labels": [], "rejected": ["y"]}', '{"text": "a", "labels": [], "rejected": [1]}',
     '{"text": "a", "labels": ["x"], "rejected": ["x"]}', '{"text": "a"}'],
)  # fmt: skip
def test_other_feedback_is_refused_with_its_line(line, command, tmp_path):
    made("linear").save(tmp_path / "m")
    data = tmp_path / "feedback.jsonl"
    data.write_text('{"text": "b", "labels": [], "rejected": ["z"]}\n' + line)
    status, _, err = command("update", tmp_path / "m", data, "-o", tmp_path / "new")
    assert status == 2 and err.count("\n") == 1 and not (tmp_path / "new").exists()


def test_a_model_without_linear_trees_needs_right_labels(command, tmp_path):
    made("dense").save(tmp_path / "m")
    line, data = {"text": "a", "labels": [], "rejected": [NAMES[0]]}, tmp_path / "feedback.jsonl"
    data.write_text(json.dumps(line))
    assert command("update", tmp_path / "m", data, "-o", tmp_path / "new")[0] == 2
    data.write_text(json.dumps({**line, "labels": [NAMES[1]]}))
    status, out, _ = command("update", tmp_path / "m", data, "-o", tmp_path / "new")
    assert status == 0 and "learned 1 text" in out and "no linear trees" in out


def test_the_last_line_of_a_text_counts(tmp_path):
    file = tmp_path / "f.jsonl"
    first, last = (
        {"text": "a", "labels": ["x"], "rejected": []},
        {"text": "a", "labels": [], "rejected": ["x", "x"]},
    )
    file.write_text("\n".join(map(json.dumps, [first, {**first, "text": "b"}, last])))
    assert is_feedback(file)
    assert read_feedback(file) == [("b", ["x"], []), ("a", [], ["x"])]
    data = json.dumps({"text": "c", "labels": ["x"]})
    file.write_text("\n".join([data, *map(json.dumps, [first, last])]))  # as `cat` puts both together
    assert is_feedback(file)
    assert read_feedback(file) == [("c", ["x"], []), ("a", [], ["x"])]
    file.write_text(data + "\n")
    assert not is_feedback(file) and not is_feedback(tmp_path)
    file.write_text('{"text": "\\"rejected\\" by all", "labels": ["x"]}\n')
    assert not is_feedback(file)
