"""Hybrids as runs: of a preset, begun again after a kill, by the command line."""

import json
from dataclasses import replace

import pytest
from bag_runs import KNOBS
from planted import planted

import megalabel
from megalabel.models.hybrid import HybridClassifier
from megalabel.recipes import from_preset, get
from megalabel.recipes.hybrid import hybrid

TREES = ["--clusters", "4", "--trees", "1", "--joint-trees", "1"]


def answers(model):
    return [part.tolist() for part in model.topk(planted().test.texts, 5).numpy()]


class Killed(Exception):
    pass


def killed(*_):
    raise Killed


def test_from_preset_builds_on_a_run(bag_run, tmp_path):
    recipe = from_preset("hybrid", planted(), run=bag_run, clusters=(4,), trees=1, joint_trees=1)
    assert recipe.arguments["vocabulary"] == 2_000_000  # of the preset for any data set
    model = megalabel.train(recipe, tmp_path / "h", quiet=True)
    assert isinstance(model, HybridClassifier)
    assert answers(model) == answers(megalabel.load(tmp_path / "h"))


def test_a_hybrid_of_a_run_that_was_cut_off_begins_again(bag_run, tmp_path, monkeypatch):
    recipe = hybrid(planted(), run=str(bag_run), clusters=(4,), trees=1, joint_trees=1)
    with pytest.raises(Killed):
        megalabel.train(replace(recipe, solve=killed), tmp_path / "h", quiet=True)
    model = megalabel.train(recipe, tmp_path / "h", quiet=True)
    assert answers(model) == answers(megalabel.load(tmp_path / "h"))


@pytest.fixture
def folder(tmp_path):
    """The planted data as a folder."""
    data, path = planted(), tmp_path / "planted"
    path.mkdir()
    (path / "Y.txt").write_text("\n".join(data.label_texts) + "\n")
    for side, split in (("trn", data.train), ("tst", data.test)):
        (path / f"{side}_X.txt").write_text("\n".join(split.texts) + "\n")
        rows = [" ".join(f"{j}:1" for j in split.labels[i].indices) for i in range(len(split))]
        (path / f"{side}_X_Y.txt").write_text(f"{len(split)} {data.n_labels}\n" + "\n".join(rows) + "\n")
    return path


def test_by_the_command_line(command, folder, tmp_path):
    run = tmp_path / "run"
    data = megalabel.Corpus.open(folder)
    megalabel.train(get("renee")(data, **KNOBS["renee"]), run, quiet=True)
    status, _, said = command("train", "hybrid", run, "--out", tmp_path / "h", *TREES, "--weights", "2,1,1")
    assert status == 0, said
    assert "planted: 400 texts, 64 labels\nhybrid, preset for *: " in said
    assert "yours: run=" in said
    assert "clusters=4 " in said
    assert "weights: base model 0.50, joint trees 0.25, word trees 0.25" in said
    model = megalabel.load(tmp_path / "h")
    assert isinstance(model, HybridClassifier)
    assert model.text.pattern == "letters"
    assert command("evaluate", tmp_path / "h", folder)[0] == 0
    assert json.loads((tmp_path / "h" / "metrics.json").read_text())["P@1"] > 90

    status, _, said = command("train", "hybrid", run, "--out", tmp_path / "h", *TREES)
    assert (status, said.count("\n")) == (2, 1)
    assert "the finished run in" in said
    assert "weights = [2, 1, 1], not []" in said

    (tmp_path / "new").mkdir()
    moved = folder.rename(tmp_path / "new" / "planted")
    status, _, said = command("train", "hybrid", run, "--out", tmp_path / "m", *TREES)
    assert (status, said.count("\n")) == (2, 1)
    assert f"which was in {folder}" in said
    assert not (tmp_path / "m").exists()
    status, _, said = command("train", "hybrid", run, moved, "--out", tmp_path / "m", *TREES)
    assert status == 0, said
    assert megalabel.load(tmp_path / "m").label_texts == model.label_texts


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["RUN/nowhere"], "no run in"),
        (["RUN"], "Name the data set"),  # made from memory: its data never lay anywhere
        (["RUN", "bundled:nothing"], "no bundled data set"),
        (["RUN", "FOLDER", "--weights", "1,1,1"], "not on this"),
    ],
    ids=["no run", "no data", "no such data", "other data"],
)
def test_wrong_input_is_one_line(arguments, told, command, bag_run, folder, tmp_path):
    (folder / "trn_X.txt").write_text("other words\n" * 400)
    given = [a.replace("RUN", str(bag_run)).replace("FOLDER", str(folder)) for a in arguments]
    status, _, said = command("train", "hybrid", *given, "--out", tmp_path / "h")
    assert status == 2
    assert told in said
    assert not (tmp_path / "h").exists()
