"""Distilled runs: linear models of a given size, taught by true labels and by a run's labels of further texts."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.exporting.export import export_run
from megalabel.metrics.ranking import measure
from megalabel.models.linear import LinearClassifier
from megalabel.recipes import distilling
from megalabel.recipes.distill import distill
from megalabel.runtime import load
from megalabel.storage.files import folder_bytes
from megalabel.training.run_folder import held_out_rows

FAST = {"clusters": (4,), "trees": 1, "c": 1.0, "token_pattern": "letters", "bigrams": "yes", "char_ngrams": "no"}


def made(bag_run, corpus=None, **options):
    said = []
    recipe = distill(corpus or planted(), run=str(bag_run), **{**FAST, **options})
    return recipe, recipe.solve(said.append), "\n".join(said)


def test_a_distilled_run_is_compared_calibrated_and_exported(bag_run, tmp_path):
    recipe = distill(planted(), run=str(bag_run), size=2.0, **FAST)
    model = megalabel.train(recipe, tmp_path / "small", quiet=True)
    assert isinstance(model, LinearClassifier) and model.calibration is not None
    assert len(held_out_rows(tmp_path / "small")) == 0  # all texts are learned in the end
    _, size = export_run(tmp_path / "small")
    assert size <= 2 * folder_bytes(bag_run / "model")
    texts = list(planted().test.texts[:20])
    wanted = model.predict(texts, 3).to_list()
    assert [[n for n, _ in row] for row in load(tmp_path / "small").predict(texts, 3)] == [
        [n for n, _ in r] for r in wanted
    ]


def test_the_comparison_is_on_texts_that_neither_learned(bag_run):
    recipe, model, said = made(bag_run, size=2.0, refit=False)
    held = held_out_rows(bag_run)
    assert np.array_equal(np.asarray(recipe.validation), held)
    shown = re.search(r"(\d+) texts that the run held out: P@1 ([\d.]+) \(([\d.]+)% of the run's\)", said)
    assert shown and int(shown[1]) == len(held) and "refit" not in said
    side = planted().train
    metric = measure(model.topk(side.texts[held], 5), side.labels[held], k=(1,), which=("P",))
    assert float(shown[2]) == pytest.approx(metric["P@1"], abs=0.01)


def test_weights_are_pruned_until_the_size_is_reached(bag_run):
    sizes = []
    for size in (4.0, 0.3):
        _, model, said = made(bag_run, size=size, refit=False)
        last = re.findall(r"weights from ([\d.]+): ([\d.]+) MB, ([\d.]+) MB wanted", said)[-1]
        assert float(last[1]) <= float(last[2])
        sizes.append(sum(len(level.values) for tree in model.trees for level in tree.levels))
    assert sizes[1] < sizes[0]


def test_further_texts_get_the_labels_of_the_run(bag_run, tmp_path):
    (tmp_path / "more.txt").write_text("w1a w1b\nw2a w2b\nzzz qqq\n" * 40)
    _, model, said = made(bag_run, size=4.0, texts=str(tmp_path / "more.txt"), texts_weight=1.0, refit=False)
    shown = re.search(r"further texts: (\d+) of 120", said)
    assert shown and 40 <= int(shown[1]) <= 120
    assert "zzz" in model.text.words or int(shown[1]) <= 80
    with pytest.raises(SettingError):  # before a run begins
        distill(planted(), run=str(bag_run), texts=str(tmp_path / "none.txt"), **FAST)


def test_other_data_are_learned_whole(bag_run, tmp_path):
    other = planted(n_texts=150, seed=5)
    (tmp_path / "more.txt").write_text("w1a w1b\n")
    strange = Corpus.of(
        list(other.train.texts), other.train.labels, [f"no {i}" for i in range(64)], name="strange"
    )
    for more in ({}, {"texts": str(tmp_path / "more.txt")}):
        with pytest.raises(DataError):  # no label in common
            made(bag_run, strange, **more)
    recipe, model, said = made(bag_run, other, size=4.0)
    assert len(recipe.validation) == 0 and "held out" not in said.replace("no texts were held out", "")
    assert len(model.label_texts) == other.n_labels


def test_a_model_folder_is_distilled_with_data(bag_run, tmp_path):
    shutil.copytree(bag_run / "model", tmp_path / "model")
    recipe, model, _ = made(tmp_path / "model", planted(n_texts=150, seed=5), size=4.0)
    assert len(recipe.validation) == 0 and model.topk(["w1a w1b"], 1).ids.shape == (1, 1)


def test_a_model_that_stays_too_large_is_told(monkeypatch):
    monkeypatch.setattr(distilling, "exported_bytes", lambda model: 100)
    monkeypatch.setattr(distilling, "TRIES", 1)
    said: list[str] = []
    for limit in (100, 50):
        distilling.fitting(lambda prune_below: LinearClassifier, 0.1, limit, said.append)
    assert len(said) == 3 and "larger" in said[-1]


def test_what_cannot_be_distilled_is_refused(bag_run, tmp_path):
    whole = planted()
    features = sp.csr_matrix(np.ones((len(whole.train), 3), np.float32))
    bags = Corpus.from_data(replace(whole, train=replace(whole.train, texts=None, features=features)))
    with pytest.raises(SettingError, match="bags of words"):
        distill(bags, run=str(bag_run))
    with pytest.raises(SettingError):
        distill(planted(), run=str(tmp_path / "nothing"), **FAST)
    with pytest.raises(SettingError):
        distill(planted(), run=str(bag_run), size=0)


def test_the_command_distills(bag_run, tmp_path, command):
    status, _, _ = command("distill", bag_run, "-o", tmp_path / "x", "--size", "no")
    assert status == 2 and not (tmp_path / "x").exists()
    status, _, err = command("distill", tmp_path / "nothing", "-o", tmp_path / "x")
    assert status == 2 and err.count("\n") == 1
