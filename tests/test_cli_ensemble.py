"""`megalabel ensemble`: runs weighed on what all of them held out, told why where they cannot be, bad input."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from planted import planted
from support.ensemble_runs import finished_runs, planted_folder

import megalabel
from megalabel.data.convert import convert
from megalabel.data.corpus import Corpus
from megalabel.data.filters import filter_of
from megalabel.inputs.batches import hold_out
from megalabel.metrics.ranking import measure
from megalabel.models.mixture import Mixture
from megalabel.recipes.linear import linear
from megalabel.training.run_folder import held_out_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return planted_folder(tmp_path_factory.mktemp("data") / "planted")


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    return finished_runs(folder, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def command(monkeypatch, command, runs):
    """The command line, beside the runs."""
    monkeypatch.chdir(runs)
    return command


def test_runs_that_held_out_the_same_texts_are_weighed_on_them(command, runs, folder, tmp_path):
    out, names = tmp_path / "r", ["few", "blind", "neural"]
    status, said, err = command("ensemble", *names, "--out", out)
    assert status == 0, err
    assert "calibrated and weighed on the 50 texts that all runs held out" in said
    facts = json.loads((out / "recipe.json").read_text())
    assert facts["recipe"] == "ensemble"
    assert facts["arguments"] == {"runs": names, "weights": []}
    assert held_out_rows(out).tolist() == hold_out(200, 0.25, 7)[1].tolist()
    assert facts["data"] == json.loads((runs / "few" / "recipe.json").read_text())["data"]
    assert facts["finished"]["seconds"] >= 0
    held, side = hold_out(200, 0.25, 7)[1], Corpus.open(folder).train
    parts = [megalabel.load(runs / name) for name in names]
    found = [part.topk(side.texts[held], 50, exclude=filter_of(side, held)) for part in parts]
    gives = [part.score_type for part in parts]
    mixture = megalabel.load(out).mixture
    assert mixture == Mixture.fit(found, gives, side.labels[held])
    tops = [*found, mixture.merge(found, gives, 5)]
    reached = [measure(top, side.labels[held], k=5)["nDCG@5"] for top in tops]
    assert said.splitlines()[1:] == [
        *(f"{w:.2f}  {name}  nDCG@5 {r:.2f}" for w, name, r in zip(mixture.weights, names, reached, strict=False)),
        f"together  nDCG@5 {reached[3]:.2f}",
        f"the model is in {out}; next: megalabel evaluate {out}",
    ]
    status, _, _ = command("evaluate", out, folder)
    assert status == 0
    assert json.loads((out / "metrics.json").read_text())["nDCG@5"] > 40
    (tmp_path / "t.txt").write_text("w0a w0b\n")
    status, top, _ = command("predict", out, tmp_path / "t.txt", "-k", 1)
    assert json.loads(top)["labels"][0]["id"] == 0


def test_an_ensemble_is_a_run_like_the_others(command, tmp_path):
    assert command("ensemble", "pairs", "blind", "-o", tmp_path / "a")[0] == 0
    status, said, err = command("ensemble", tmp_path / "a", "words/model", "-o", tmp_path / "b")
    assert status == 0, err
    assert "on the 50 texts that all runs held out" in said
    status, said, err = command("ensemble", tmp_path / "b", "all", "-o", tmp_path / "c")
    assert status == 0, err
    assert "not fitted: all held out no texts" in said


def test_weights_that_are_given_are_taken(command, tmp_path):
    status, said, _ = command("ensemble", "pairs", "words", "-o", tmp_path / "r", "--weights", "1,3")
    assert status == 0
    assert "calibrated on the 50 texts that all runs held out" in said
    mixture = megalabel.load(tmp_path / "r").mixture
    assert mixture.weights == (0.25, 0.75)
    assert mixture.slopes != (1, 1)
    assert json.loads((tmp_path / "r" / "recipe.json").read_text())["arguments"]["weights"] == [1, 3]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            ["pairs", "all"],
            "all held out no texts (train with --validation-fraction 0.05); equal weights, scores as they are",
        ),
        (["pairs", "other"], "pairs and other were trained on different data sets, 'planted' and 'planted'"),
        (["pairs", "bare"], "bare is not a run folder"),
        (["pairs", "beside"], "it is not known what beside held out"),
        (
            ["pairs", "all", "--weights", "1,3"],
            "all held out no texts (train with --validation-fraction 0.05); the weights given, scores as they are",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_fitted_is_told_and_merged_all_the_same(command, runs, named, said, tmp_path):
    if not (runs / "bare").exists():
        shutil.copytree(runs / "words" / "model", runs / "bare")
        _copied(runs / "words", runs / "beside", recipe="hybrid", arguments={"run": "gone"})
        (runs / "beside" / "held_out.npy").unlink()
    status, out, err = command("ensemble", *named, "-o", tmp_path / "r")
    assert status == 0, err
    assert f"not fitted: {said}" in out
    mixture = megalabel.load(tmp_path / "r").mixture
    assert mixture == Mixture.from_weights([1, 3] if "--weights" in named else [1, 1])
    facts = json.loads((tmp_path / "r" / "recipe.json").read_text())
    assert len(held_out_rows(tmp_path / "r")) == 0
    assert bool(facts["data"]) == ("other" not in named and "bare" not in named)


def _copied(run, to, **facts):
    shutil.copytree(run, to)
    there = json.loads((to / "recipe.json").read_text())
    (to / "recipe.json").write_text(json.dumps({**there, **facts}))


def test_runs_with_different_held_out_texts_are_weighed_on_those_that_they_share(command, tmp_path):
    both = np.intersect1d(hold_out(200, 0.25, 7)[1], hold_out(200, 0.25, 8)[1])
    assert 0 < len(both) < 50
    status, said, err = command("ensemble", "pairs", "seed", "-o", tmp_path / "r")
    assert status == 0, err
    assert f"on the {len(both)} texts that all runs held out" in said
    assert held_out_rows(tmp_path / "r").tolist() == both.tolist()


def test_a_hybrid_of_version_0_1_0_held_out_what_its_run_held_out(command, runs, tmp_path):
    for name, run in (("hybrid", "neural"), ("gone", "nowhere")):
        _copied(runs / "words", tmp_path / name, recipe="hybrid", arguments={"run": run, "seed": 3})
        (tmp_path / name / "held_out.npy").unlink()
    _, said, _ = command("ensemble", "pairs", tmp_path / "hybrid", "-o", tmp_path / "a")
    assert "on the 50 texts that all runs held out" in said
    _, said, _ = command("ensemble", "pairs", tmp_path / "gone", "-o", tmp_path / "c")
    assert "not fitted: it is not known what" in said
    _copied(runs / "words", tmp_path / "none", arguments={"hybrid": True, "validation": 0.0, "seed": 7})
    (tmp_path / "none" / "held_out.npy").unlink()
    _, said, _ = command("ensemble", tmp_path / "none", tmp_path / "none", "-o", tmp_path / "b")
    assert "on the 10 texts that all runs held out" in said


def test_data_that_moved_or_changed(command, runs, folder, tmp_path):
    for name in ("a", "b"):
        facts = json.loads((runs / "pairs" / "recipe.json").read_text())["data"]
        _copied(runs / "pairs", tmp_path / name, data={**facts, "path": "gone"})
    both = tmp_path / "a", tmp_path / "b"
    _, said, _ = command("ensemble", *both, "-o", tmp_path / "r")
    assert "which was in gone; expected its data set. Name the data set; equal weights" in said
    _, said, _ = command("ensemble", *both, "-o", tmp_path / "s", "--data", folder)
    assert "calibrated and weighed" in said
    convert(planted(n_texts=150), tmp_path / "moved", "raw")
    status, _, err = command("ensemble", *both, "-o", tmp_path / "t", "--data", tmp_path / "moved")
    assert status == 2
    assert "'moved' is not the data set that the runs were trained on; expected 'planted' as it was then" in err
    for name in ("a", "b"):
        _copied(runs / "pairs", tmp_path / f"{name}2", data={**facts, "path": str(tmp_path / "moved")})
    _, said, _ = command("ensemble", tmp_path / "a2", tmp_path / "b2", "-o", tmp_path / "u")
    assert "moved is not what it was when the runs were trained: give that data set by --data" in said


def test_held_out_texts_without_labels_fit_nothing(command, runs, tmp_path):
    data = planted(n_texts=200)
    held = hold_out(200, 0.25, 7)[1]
    kept = sp.diags((~np.isin(np.arange(200), held)).astype(np.float32))
    labels = sp.csr_matrix(kept @ data.train.labels)
    labels.eliminate_zeros()
    convert(replace(data, train=replace(data.train, labels=labels)), tmp_path / "data", "raw")
    opened = Corpus.open(tmp_path / "data")
    for seed in ("a", "b"):
        recipe = linear(opened, clusters=(4,), trees=1, validation_fraction=0.25, seed=7)
        megalabel.train(recipe, tmp_path / seed, quiet=True)
    _, said, _ = command("ensemble", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "r")
    assert "not fitted: none of the 50 texts that were held out has a label; equal weights" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pairs"], "1 run; expected two runs or more"),
        (["pairs", "words", "--weights", "1,2,3"], "2 runs and 3 weights"),
        (["pairs", "words", "--weights", "-1,2"], "--weights: -1 is not"),
        (["pairs", "words", "--weights", "0,0"], "not all 0"),
        (["pairs", "words", "--weights", "nan,1"], "--weights: nan is not"),
        (["pairs", "words", "--weights", "a,b"], "--weights: 'a' is not"),
        (["pairs", "words", "--weights", ""], "--weights: an empty value"),
        (["pairs", "labels"], "pairs and labels predict different labels (64 and 32 labels)"),
        (["pairs", "half"], "the run in half is not finished"),
        (["pairs", "gone"], "gone: there is no such folder"),
        (["pairs", "pairs/recipe.json"], "Name the folder of the run, not a file"),
        (["pairs", "neural", "--device", "gpu"], "doctor"),
        (["pairs", "words", "--data", "gone"], "gone"),
        (["pairs", "gone", "--out", "words"], "the run in words is finished"),
        (["pairs", "words", "--out", "."], "contains other files"),
        (["pairs", "words", "--out", "half"], "recipe linear, not ensemble"),
        (["pairs", "words", "--out", "pairs/recipe.json"], "is a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_and_leaves_nothing(command, runs, arguments, said, tmp_path):
    if not (runs / "half").exists():
        _copied(runs / "words", runs / "half", finished=None)
    before = (runs / "half" / "recipe.json").read_text()
    out = tmp_path / "new"
    status, _, err = command("ensemble", *arguments, *([] if "--out" in arguments else ["--out", out]))
    assert status == 2
    assert said in err
    assert "Traceback" not in err
    assert not out.exists()
    assert (runs / "half" / "recipe.json").read_text() == before


def test_one_that_was_cut_off_is_made_again(command, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(megalabel.Ensemble, "save", stop)
        assert command("ensemble", "pairs", "all", "-o", tmp_path / "r")[0] == 130
    assert json.loads((tmp_path / "r" / "recipe.json").read_text())["finished"] is None
    status, _, err = command("ensemble", "pairs", "words", "-o", tmp_path / "r")
    assert status == 2
    assert "the unfinished run" in err
    assert command("ensemble", "pairs", "all", "-o", tmp_path / "r")[0] == 0
    assert megalabel.load(tmp_path / "r").mixture == Mixture.from_weights([1, 1])
