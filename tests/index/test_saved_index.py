"""An index is saved with its model, used by `topk`, and not used for other weights."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from untrained import untrained

import megalabel
from megalabel.errors import FormatError, SettingError
from megalabel.index.base import LabelIndex
from megalabel.models import indexed

NAMES = [f"label {i}" for i in range(2000)]
TEXTS = [" ".join(words) for words in np.random.default_rng(0).choice(list("abcd"), (120, 9))]


@pytest.fixture(scope="module")
def model():
    return untrained(NAMES)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "m"
    model.with_index("int8", TEXTS, k=20).save(folder)
    return folder


def test_a_model_with_an_index_answers_as_without(model, saved, monkeypatch):
    again = megalabel.load(saved)
    assert again.index.kind == "int8" and again.index.report[0]["kind"] == "exact"
    assert isinstance(again.index.search.levels[0].codes, np.memmap)
    calls = []
    topk = LabelIndex.topk
    monkeypatch.setattr(LabelIndex, "topk", lambda *given: calls.append(1) or topk(*given))
    exclude = np.array([[0, 3], [5, 7]])
    for k in (1, 20):
        found, wanted = again.topk(TEXTS, k, exclude=exclude), model.topk(TEXTS, k, exclude=exclude)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5, atol=1e-5)
        assert (found.ids == wanted.ids).mean() > 0.99
    assert calls and model.index is None
    assert again.predict(TEXTS[:1], 2)[0][0][0] == model.predict(TEXTS[:1], 2)[0][0][0]


def test_an_index_is_replaced_and_removed_in_a_saved_model(model, saved, tmp_path):
    folder = tmp_path / "m"
    model.save(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    indexed.put_index(folder, megalabel.load(saved).index)
    assert megalabel.load(folder).index.kind == "int8"
    indexed.put_index(folder, None)
    assert megalabel.load(folder).index is None and not (folder / "index").exists()
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


def test_an_index_of_other_weights_is_not_used(saved, tmp_path, monkeypatch):
    other = untrained(NAMES)
    other.index = megalabel.load(saved).index
    monkeypatch.setattr(indexed, "sha256", lambda path: "0" * 64)  # as if the weights had been written again
    other.save(tmp_path / "m")
    with pytest.warns(UserWarning, match="other weights"):
        again = megalabel.load(tmp_path / "m")
    assert again.index is None


def test_a_damaged_index_is_refused(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "m")
    file = tmp_path / "m" / "index" / "level0-codes.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(FormatError):
        megalabel.load(tmp_path / "m")


def test_models_without_label_vectors_and_missing_texts_are_refused(model):
    with pytest.raises(SettingError):
        model.with_index("tree")
    with pytest.raises(SettingError):
        model.with_index("forest", TEXTS)
    with pytest.raises(SettingError):
        indexed.searchable(object())


def test_the_command_prints_a_table_and_saves_the_index(model, tmp_path, command):
    folder, texts = tmp_path / "m", tmp_path / "texts.txt"
    model.save(folder)
    texts.write_text("\n".join(TEXTS), encoding="utf-8")
    status, out, err = command("index", folder, "--kind", "tree", "--texts", texts, "--recall", "0.9", "-k", "5")
    assert status == 0 and "tree*" in out and "too few" not in err
    assert megalabel.load(folder).index.depth == 5
    status, out, _ = command("index", folder, "--kind", "exact", "--texts", texts)
    assert status == 0 and "exact*" in out and megalabel.load(folder).index is None
    for wrong in (
        ["--kind", "ivf"], ["--recall", "1"], ["--recall", "0"], ["-k", "0"], ["--seed", "-1"],
        ["--texts", tmp_path / "none.txt"], ["--threads", "0"],
    ):  # fmt: skip
        status, _, err = command("index", folder, "--texts", texts, *wrong)
        assert status == 2 and err.startswith("megalabel: ")
    status, _, err = command("index", folder)  # a model folder alone has no data set
    assert status == 2 and err.startswith("megalabel: ")
