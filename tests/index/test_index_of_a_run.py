"""`megalabel index` on run folders: held-out texts, training texts with a warning, and runs that have no index."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from support.animals import animals

import megalabel
from megalabel.recipes import get

OPTIONS = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=1, batch_size=32, hidden_dim=0, bias=True, warmup=0.1,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return animals(tmp_path_factory.mktemp("animals") / "base")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run that held out no texts."""
    out = tmp_path_factory.mktemp("runs") / "renee"
    corpus = megalabel.Corpus.open(data)
    megalabel.train(get("renee")(corpus, validation_fraction=0.0, **OPTIONS), out, quiet=True)
    return out


def test_a_run_is_searched_by_its_index_and_evaluates_alike(run, command, tmp_path):
    model = megalabel.load(run)
    texts = [f"cat {i % 5} dog" for i in range(30)]
    before = model.topk(texts, 2)
    status, out, err = command("index", run, "--kind", "int8", "-k", "3")
    assert status == 0 and "int8*" in out and "held out no texts" in err
    again = megalabel.load(run)
    assert again.index.kind == "int8" and again.index.depth == 3
    np.testing.assert_allclose(again.topk(texts, 2).scores, before.scores, rtol=1e-5, atol=1e-6)
    status, out, _ = command("evaluate", run, "-k", "1")
    assert status == 0
    assert command("index", run, "--kind", "exact")[0] == 0
    assert megalabel.load(run).index is None


def test_held_out_texts_are_those_that_are_measured(run, command, tmp_path):
    other = shutil.copytree(run, tmp_path / "run")
    np.save(other / "held_out.npy", np.array([0, 2, 3]))
    status, _, err = command("index", other, "--kind", "int8", "-k", "2")
    assert status == 0 and "held out no texts" not in err
    (tmp_path / "more.jsonl").write_text('{"text": "cat", "labels": ["cat"]}\n' * 5)
    assert command("index", other, tmp_path / "more.jsonl", "--kind", "int8")[0] == 2  # whose rows are other texts
    np.save(other / "held_out.npy", np.array([0, 10**6]))
    status, _, err = command("index", other)
    assert status == 2 and "1,000,000" in err


def test_runs_without_label_vectors_and_missing_runs_are_refused(run, data, command, tmp_path):
    from untrained import untrained

    from megalabel.heads.sparse import SparseHead

    model = untrained(["a", "b"])
    model.head = SparseHead(2, 8, fan_in=4).eval()
    model.save(tmp_path / "sparse")
    for arguments, said in (
        ([tmp_path / "sparse"], "SparseHead"), ([tmp_path / "gone"], "gone"), ([data], "data set"),
        ([run, "--kind", "tree", "--recall", "nan"], "recall"), ([run, "--texts", tmp_path], "megalabel"),
        ([run, tmp_path / "nodata"], "nodata"),
    ):  # fmt: skip
        status, out, err = command("index", *arguments)
        assert status == 2 and out == "" and said in err and "Traceback" not in err
