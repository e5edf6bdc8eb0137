"""Runs end with calibrated probabilities, and commands write what is asked of them."""

import csv
import json

import numpy as np
import pytest
from planted import planted
from support.light_runs import LIGHT

import megalabel
from megalabel.data.convert import convert
from megalabel.data.corpus import Corpus
from megalabel.metrics.calibration import reliability
from megalabel.recipes.linear import linear
from megalabel.recipes.renee import renee

PLAIN = {"token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0, "clusters": (4,), "trees": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "planted"
    convert(planted(n_texts=1200, n_test=300), folder, "raw")
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A linear run, which holds nothing out."""
    out = tmp_path_factory.mktemp("runs") / "linear"
    megalabel.train(linear(Corpus.open(folder), **PLAIN), out, quiet=True)
    return out


def test_linear_models_of_all_texts_are_calibrated_by_trees_without_some(folder, run):
    corpus, model = Corpus.open(folder), megalabel.load(run)
    said = []
    plain = linear(corpus, calibration="no", **PLAIN).solve(said.append)
    assert plain.calibration is None
    assert not any("calibrated" in line for line in said)
    texts = corpus.test.texts[:300]
    found = model.predict(texts, 5)
    assert found.score_type == "calibrated"
    assert model.calibration.n_texts <= 120
    assert model.calibration.by_frequency.offsets.any()
    for a, b in zip(model.topk(texts, 5).numpy(), plain.topk(texts, 5).numpy(), strict=True):
        assert np.array_equal(a, b)
    raw = model.predict(texts, 5, probabilities=False)
    assert reliability(found, corpus.test.labels).error < reliability(raw, corpus.test.labels).error


def test_neural_runs_are_calibrated_on_what_they_held_out(tmp_path):
    data = planted()
    options = {**LIGHT, "epochs": 2, "validation_fraction": 0.2}
    model = megalabel.train(renee(data, **options), tmp_path / "run", quiet=True)
    again = megalabel.load(tmp_path / "run")
    assert model.calibration.n_texts == 80
    assert model.calibration.by_frequency.offsets.any()
    assert again.predict(data.test.texts[:9], 3) == model.predict(data.test.texts[:9], 3)
    assert again.predict(data.test.texts[:9], 3).score_type == "calibrated"
    assert (np.diff(again.predict(data.test.texts[:9], 3).scores) <= 0).all()


def test_commands_write_probabilities_sets_and_chosen_labels(command, run, folder, tmp_path):
    corpus = Corpus.open(folder)
    (tmp_path / "t.txt").write_text("\n".join(corpus.test.texts[:20]) + "\n")
    (tmp_path / "allow.txt").write_text("\n".join(corpus.label_texts[i] for i in range(8)) + "\n")
    texts = tmp_path / "t.txt"
    status, out, _ = command("predict", run, texts, "--probabilities", "--precision", "0.5")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert {line["score_type"] for line in lines} == {"calibrated"}
    assert 20 <= sum(len(line["labels"]) for line in lines) < 200
    status, _, _ = command("predict", run, texts, "--coverage", "0.5", "-o", tmp_path / "sets.csv")
    assert status == 0
    with open(tmp_path / "sets.csv", newline="") as file:
        assert len({row["text"] for row in csv.DictReader(file)}) > 10
    status, out, _ = command("predict", run, texts, "-k", "3", "--allow", tmp_path / "allow.txt", "--tail", "0.5")
    assert status == 0
    assert {label["id"] for line in out.splitlines() for label in json.loads(line)["labels"]} <= set(range(8))
    for wrong in (
        ("--coverage", "0.5", "-k", "3"), ("--precision", "0.5", "--tail", "0.1"), ("--allow", "no-such-file"),
        ("--allow", texts), ("-o", tmp_path / "x.xlsx"), ("--tail", "2"), 
        ("--tail", "most"), ("--tail", "auto", "--coverage", "0.5"), ("--precision", "1"),
    ):  # fmt: skip
        status, _, err = command("predict", run, texts, *wrong)
        assert status == 2, wrong
        assert err.count("\n") <= 2
        assert "Traceback" not in err


def test_a_run_is_calibrated_afterwards_and_the_tail_curve_is_printed(command, folder, tmp_path):
    megalabel.train(linear(Corpus.open(folder), calibration="no", **PLAIN), tmp_path / "run", quiet=True)
    status, _, err = command("predict", tmp_path / "run", folder / "tst_X.txt.gz", "--precision", "0.5")
    assert status == 2
    assert "megalabel calibrate" in err
    status, out, _ = command("calibrate", tmp_path / "run", folder)
    assert status == 0
    assert "300 texts" in out
    status, out, _ = command("evaluate", tmp_path / "run", folder, "--tail-curve")
    assert status == 0
    rows = [line.split() for line in out.splitlines()]
    curve = [row for row in rows if row and row[0] in ("0.00", "0.50", "1.00")]
    assert len(curve) == 3
    assert any("ECE@5" in line for line in out.splitlines())
    chosen, texts = rows[-1][-1], tmp_path / "texts.txt"
    texts.write_text("\n".join(Corpus.open(folder).test.texts[:40]))
    assert "--tail auto" in out.splitlines()[-1]
    found = [command("predict", tmp_path / "run", texts, "-k", "3", "--tail", tail) for tail in ("auto", chosen)]
    assert found[0][0] == 0, found[0]
    assert found[0] == found[1]
