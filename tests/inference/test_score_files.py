"""Files of scores: what is read, what is refused, and rankings merged from files and runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from bag_runs import trained
from planted import planted
from support.ensemble_runs import planted_folder

import megalabel
from megalabel.errors import DataError
from megalabel.inference.evaluate import evaluate
from megalabel.inference.score_files import read_scores
from megalabel.metrics.ranking import measure
from megalabel.metrics.topk import topk_from_csr
from megalabel.recipes.linear import linear

IDS = np.array([[3, 1], [0, 2], [5, -1]])
SCORES = np.array([[0.9, 0.5], [0.8, 0.25], [0.75, -np.inf]], np.float32)


def matrix(columns=64):
    rows, places = np.nonzero(IDS >= 0)
    return sp.csr_matrix((SCORES[rows, places], (rows, IDS[rows, places])), shape=(3, columns))


def written(path, kind):
    data = planted()
    if kind == "predict.npz":
        np.savez(path / "a.npz", labels=IDS, scores=SCORES)
    elif kind in ("csr.npz", "cascadexml.npz"):
        sp.save_npz(path / "a.npz", matrix(65 if kind.startswith("cascade") else 64))
    elif kind == "lines.jsonl":
        rows = [
            [{"label": data.label_texts[i], "score": float(s)} for i, s in zip(*row, strict=True) if i >= 0]
            for row in zip(IDS, SCORES, strict=True)
        ]
        (path / "a.jsonl").write_text("".join(json.dumps({"labels": row}) + "\n" for row in rows))
    else:
        text = "1:0.5 3:0.9\n0:0.8 2:0.25\n5:0.75\n"
        (path / "a.txt").write_text("3 64\n" + text if kind == "header.txt" else text.replace(" ", ","))
    return path / f"a.{kind.rpartition('.')[2]}"


@pytest.mark.parametrize(
    "kind", ["predict.npz", "csr.npz", "cascadexml.npz", "lines.jsonl", "pairs.txt", "header.txt"]
)
def test_every_format_is_the_same_ranking(kind, tmp_path):
    found = read_scores(written(tmp_path, kind), planted(), 3)
    assert found.top.ids[:, :2].tolist() == IDS.tolist()
    np.testing.assert_allclose(found.top.scores[:, :2], SCORES)
    assert found.score_type == "probability"


def test_scores_beyond_one_are_logits(tmp_path):
    np.savez(tmp_path / "a.npz", labels=IDS, scores=SCORES * 5)
    assert read_scores(tmp_path / "a.npz", planted(), 3).score_type == "logit"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npz", b"", "cannot be read"),
        ("a.npz", b"PK\x03\x04", "cannot be read"),
        ("a.jsonl", b"{}\n", "no ranking"),
        ("a.jsonl", b'{"labels": [{"label": "no such", "score": 1}]}\n', "no such"),
        ("a.txt", b"some words\n", "label:score"),
        ("a.txt", b"1:0.5\n", "1 texts"),
        ("a.txt", b"64:0.5\n1:1\n2:1\n", "labels up to 64"),
        ("gone.npz", None, "no such file"),
    ],
)
def test_what_are_no_scores_of_these_texts_is_refused(name, content, said, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_scores(tmp_path / name, planted(), 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return planted_folder(tmp_path_factory.mktemp("data") / "planted")


def test_files_and_runs_are_merged(folder, command, tmp_path):
    data = megalabel.Corpus.open(folder)
    run = tmp_path / "linear"
    model = megalabel.train(linear(data, clusters=(4,), trees=1, vocabulary=40), run, quiet=True)
    top = model.topk(data.test.texts, 20, exclude=data.test.filter)
    other = megalabel.load(trained("renee", tmp_path / "renee"))
    status, _, err = command(
        "predict", tmp_path / "renee", folder / "tst_X.txt", "-k", "30", "-o", tmp_path / "a.npz"
    )
    assert status == 0, err
    merge = ["ensemble", tmp_path / "a.npz", run, "--out", tmp_path / "merged.npz"]
    status, said, err = command(*merge, "--weights", "2,1")
    assert status == 0, err
    assert "together" in said
    merged = sp.load_npz(tmp_path / "merged.npz")
    assert merged.shape == (len(data.test), data.n_labels)
    p1 = measure(topk_from_csr(merged, 5), data.test.labels, k=(1,))["P@1"]
    assert p1 >= max(evaluate(model, data)["P@1"], measure(top, data.test.labels, k=(1,))["P@1"])
    assert other.n_features is None


def test_what_cannot_be_merged_is_refused(folder, command, tmp_path):
    a, b = (written(tmp_path / name, "csr.npz") for name in ("a", "b") if (tmp_path / name).mkdir() is None)
    for more, said in (
        (["--out", tmp_path / "m.npz"], "data set"),
        (["--out", tmp_path / "m", "--data", folder], ".npz"),
        (["--out", tmp_path / "m.npz", "--data", folder, "--weights", "1"], "weights"),
        (["--out", tmp_path / "m.npz", "--data", folder], "3 texts"),
    ):
        status, _, err = command("ensemble", a, b, *more)
        assert status == 2
        assert said in err
    assert not (tmp_path / "m.npz").exists()
