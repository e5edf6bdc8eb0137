"""Stored predictions are measured as the model that made them."""

import io
import json

import numpy as np
import pytest
import scipy.sparse as sp

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.data.test_side import open_to_measure
from megalabel.errors import DataError, SettingError
from megalabel.inference.predict import write_file, write_jsonl
from megalabel.inference.stored import evaluate_predictions
from megalabel.inference.stored_files import is_predictions


@pytest.fixture(scope="module")
def whole(linear, base):
    return megalabel.evaluate(linear, Corpus.open(base))


def measured(path, place, **settings):
    said = []
    corpus, split = open_to_measure(place)
    return evaluate_predictions(path, corpus, split, say=said.append, **settings), said


def lines(linear, base, k=8):
    file = io.StringIO()
    write_jsonl(linear, Corpus.open(base).test.texts, k, file)
    return file.getvalue()


def test_what_predict_writes_gives_the_metrics_of_the_model(linear, base, tmp_path, whole):
    texts = Corpus.open(base).test.texts
    write_file(linear, texts, 8, tmp_path / "p.npz")
    (tmp_path / "p.jsonl").write_text(lines(linear, base))
    top = linear.topk(texts, 8).numpy()
    rows = np.repeat(np.arange(len(texts)), 8)
    matrix = sp.csr_matrix((top[1].ravel(), (rows, top[0].ravel())), shape=(len(texts), 8))
    sp.save_npz(tmp_path / "pecos.npz", matrix)
    for name in ("p.npz", "p.jsonl", "pecos.npz"):
        assert is_predictions(tmp_path / name)
        found, said = measured(tmp_path / name, base)
        assert found == pytest.approx(whole), name
        assert any("ids are taken for the 8 labels" in line for line in said) == name.endswith("npz")
    assert not is_predictions(tmp_path)
    assert not is_predictions(tmp_path / "none.npz")


def test_json_lines_are_matched_by_name(linear, base, tmp_path, whole):
    (tmp_path / "p.jsonl").write_text(lines(linear, base))
    found, said = measured(tmp_path / "p.jsonl", base / "test.jsonl")
    assert found == pytest.approx({name: value for name, value in whole.items() if not name.startswith("PS")})
    assert any(line.startswith("PSP and PSnDCG are left out") for line in said)


def test_a_label_that_the_data_lacks_still_takes_its_rank(tmp_path):
    (tmp_path / "test.jsonl").write_text('{"text":"a","labels":["x"]}\n{"text":"b","labels":["y"]}\n')
    rows = [["lion", "x"], ["y", "lion"]]
    (tmp_path / "p.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, _ = measured(tmp_path / "p.json", tmp_path / "test.jsonl", k=(1, 2))
    assert (found["P@1"], found["P@2"]) == (50, 50)


def test_a_test_label_without_a_column_can_be_hit(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text":"a","labels":["x"]}\n' * 3)
    (tmp_path / "test.jsonl").write_text('{"text":"a","labels":["x", "new"]}\n')
    (tmp_path / "p.jsonl").write_text('{"labels":[{"label":"new","score":2},{"label":"x","score":1}]}\n')
    found, _ = measured(tmp_path / "p.jsonl", tmp_path, k=(1, 2))
    assert (found["P@1"], found["P@2"], found["R@2"], found["nDCG@2"]) == pytest.approx((100, 100, 100, 100))


def test_two_labels_of_one_name_are_told_apart_by_their_ids(tmp_path):
    (tmp_path / "labels.txt").write_text("mercury\nbee\nmercury\n")
    (tmp_path / "test.jsonl").write_text('{"text":"a","labels":[2]}\n{"text":"b","labels":[0]}\n')
    (tmp_path / "p.jsonl").write_text('{"labels":[{"id":2,"label":"mercury"}]}\n' * 2)
    assert measured(tmp_path / "p.jsonl", tmp_path / "test.jsonl", k=[1])[0]["P@1"] == 50


def test_filter_pairs_are_taken_out_of_stored_predictions(tmp_path):
    (tmp_path / "labels.txt").write_text("x\ny\nz\n")
    (tmp_path / "test.jsonl").write_text('{"text":"a","labels":["y"]}\n')
    (tmp_path / "tst_filter_labels.txt").write_text("0 0\n")
    np.savez(tmp_path / "p.npz", labels=[[0, 1]], scores=np.array([[0.9, 0.8]], np.float32))
    assert measured(tmp_path / "p.npz", tmp_path, k=[1])[0]["P@1"] == 100
    with pytest.raises(DataError, match="the filter leaves row 0 1 of its 2 labels"):
        measured(tmp_path / "p.npz", tmp_path, k=[2])


def test_depths_that_the_predictions_do_not_reach(linear, base, tmp_path, whole):
    (tmp_path / "p.jsonl").write_text(lines(linear, base, k=3))
    found, said = measured(tmp_path / "p.jsonl", base)
    assert "P@5" not in found and found["P@3"] == pytest.approx(whole["P@3"])
    assert any("3 labels per text; deeper metrics are left out" in line for line in said)
    with pytest.raises(SettingError, match=r"k = 5 for predictions of 3 labels per text.*\(-k\)"):
        measured(tmp_path / "p.jsonl", base, k=[5])
    (tmp_path / "p.jsonl").write_text(lines(linear, base))
    assert "P@1000000000" in measured(tmp_path / "p.jsonl", base, k=[10**9])[0]  # all 8 labels are there


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.jsonl", b'{"labels":[{"label":"cat","score":1}]}\n', "predictions for 1 texts; expected 30"),
        ("p.jsonl", b'{"text":"purr"}\n', "line 1: no ranking of labels"),
        ("p.jsonl", b"{\n", "line 1: no ranking of labels"),
        ("p.jsonl", b'{"labels":[{"label":"cat","score":"high"}]}\n', "line 1: no ranking"),
        ("p.jsonl", b'{"labels":[{"label":"cat","score":NaN}]}\n', "line 1: no ranking"),
        ("p.npz", b"PK\x03\x04 cut", "cannot be read as npz"),
        ("p.npz", b"", "cannot be read as npz"),
    ],
)
def test_what_is_no_prediction_is_refused(base, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        measured(tmp_path / name, base)


def test_matrices_of_other_labels_and_other_arrays_are_refused(base, tmp_path):
    sp.save_npz(tmp_path / "p.npz", sp.csr_matrix((30, 9), dtype=np.float32))
    with pytest.raises(DataError, match="predictions over 9 labels; expected the 8 labels of base"):
        measured(tmp_path / "p.npz", base)
    np.savez(tmp_path / "q.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="arrays x; expected the arrays labels and scores"):
        measured(tmp_path / "q.npz", base)
    np.savez(tmp_path / "r.npz", labels=np.full((30, 2), 8), scores=np.zeros((30, 2), np.float32))
    with pytest.raises(DataError, match="label id 8, where base has 8 labels"):
        measured(tmp_path / "r.npz", base, k=[1])
