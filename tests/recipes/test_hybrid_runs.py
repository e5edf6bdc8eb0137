"""Hybrids as runs: behind the training of a neural recipe, gone on with after a kill, by the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from bag_runs import KNOBS
from planted import planted

import megalabel
from megalabel.errors import SettingError
from megalabel.inputs.batches import hold_out
from megalabel.models.hybrid import HybridModel
from megalabel.models.neural import Model
from megalabel.recipes import get
from megalabel.recipes.hybrid import HELD, hybrid
from megalabel.training.run import train

TREES = ["--depths", "2", "--trees", "1", "--joined-trees", "1"]


@pytest.fixture
def small(monkeypatch):
    """A preset of small trees in place of the one of the recipe's own page."""
    monkeypatch.setattr("megalabel.recipes.presets.taken", lambda *_: dict(depths=(2,), trees=1, joined_trees=1))


def made(name="renee", **more):
    return get(name)(planted(), **{**KNOBS[name], "epochs": 2, "hybrid": True, **more})


def answers(model):
    return [part.tolist() for part in model.topk(planted().test.texts, 5).numpy()]


@pytest.mark.parametrize("name", KNOBS)
def test_a_neural_recipe_ends_as_a_hybrid(name, small, tmp_path):
    out = tmp_path / "run"
    model = megalabel.train(made(name, epochs=KNOBS[name]["epochs"]), out, quiet=True)
    assert isinstance(model, HybridModel)
    assert isinstance(model.first, Model)
    assert megalabel.evaluate(model, planted())["P@1"] > 90
    assert sorted(p.name for p in out.iterdir()) == ["log.jsonl", "model", "recipe.json"]
    assert (out / "model" / "first" / "encoder.safetensors").is_file()
    again = megalabel.load(out)
    assert isinstance(again, HybridModel)
    assert answers(again) == answers(model)
    assert json.loads((out / "recipe.json").read_text())["arguments"]["hybrid"] is True
    with pytest.raises(
        SettingError, match=f"run of the recipe '{name}' with hybrid = True; expected .* no hybrid"
    ):
        hybrid(planted(), run=str(out))


@pytest.mark.parametrize("name", KNOBS)
def test_a_twentieth_is_held_out_where_validation_is_none(name):
    wanted = [hold_out(400, share, 0)[1] for share in (HELD, 0.1, 0.0)]
    assert len(wanted[0]) == 20
    given = ({"validation": 0.0}, {}, {"validation": 0.0, "hybrid": False})
    for more, rows in zip(given, wanted, strict=True):
        recipe = made(name, **more)
        assert np.array_equal(recipe.validation, rows)
        assert (recipe.then is None) == (len(rows) == 0)


def test_the_preset_of_the_data_set_is_taken(monkeypatch):
    asked = []
    monkeypatch.setattr("megalabel.recipes.presets.find", lambda *name: asked.append(name))
    monkeypatch.setattr("megalabel.recipes.presets.taken", lambda *_: {"depths": (9,)})
    with pytest.raises(SettingError, match="512 clusters"):
        made()
    assert asked == [("hybrid", "planted")]


class Killed(Exception):
    pass


def killed(*_):
    raise Killed


@pytest.mark.parametrize("when", ["then", "save"])
@pytest.mark.parametrize("more", [{}, {"patience": 1, "epochs": 8, "select": "R@1"}], ids=["", "patience"])
def test_cut_off_behind_the_training_it_goes_on_without_training_again(when, more, small, tmp_path, monkeypatch):
    whole = megalabel.train(made(**more), tmp_path / "whole", quiet=True)
    out = tmp_path / "cut"
    if when == "then":
        with pytest.raises(Killed):
            megalabel.train(replace(made(**more), then=killed), out, quiet=True)
    else:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(HybridModel, "save", killed)
            megalabel.train(made(**more), out, quiet=True)
    assert sorted(p.name for p in out.iterdir()) == ["first", "last", "log.jsonl", "recipe.json"]
    assert isinstance(megalabel.load(out / "first"), Model)
    before = (out / "log.jsonl").read_text()
    steps = json.loads((tmp_path / "whole" / "recipe.json").read_text())["finished"]["steps"]
    assert not more or steps < made(**more).batches.steps  # patience did end it

    (out / ".first.new-99999").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("megalabel.training.loop._step", killed)
        again = megalabel.train(made(**more), out, quiet=True)
    assert answers(again) == answers(whole) == answers(megalabel.load(out))
    assert again.mixture == whole.mixture
    assert (out / "log.jsonl").read_text() == before
    assert json.loads((out / "recipe.json").read_text())["finished"]["steps"] == steps
    assert sorted(p.name for p in out.iterdir()) == ["log.jsonl", "model", "recipe.json"]
    with pytest.raises(SettingError, match="finished"):
        megalabel.train(made(**more), out, quiet=True)


def test_cut_off_in_the_training_it_ends_the_same(small, tmp_path, monkeypatch):
    whole = train(made(), tmp_path / "whole", quiet=True)
    step = megalabel.training.loop._step

    def until(recipe, batch, *rest):
        if batch.step == 20:
            raise Killed
        step(recipe, batch, *rest)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("megalabel.training.loop._step", until)
        train(made(), tmp_path / "cut", checkpoint_steps=8, quiet=True)
    assert not (tmp_path / "cut" / "model").exists()  # an unfinished run has no model yet
    again = train(made(), tmp_path / "cut", quiet=True)
    assert answers(again) == answers(whole)


def test_a_hybrid_of_a_run_that_was_cut_off_begins_again(bag_run, tmp_path, monkeypatch):
    recipe = hybrid(planted(), run=str(bag_run), depths=(2,), trees=1, joined_trees=1)
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
    assert f"yours: run={run} " in said
    assert "weights: base model 0.50, joint trees 0.25, word trees 0.25" in said
    model = megalabel.load(tmp_path / "h")
    assert isinstance(model, HybridModel)
    assert len(model.text.char_ngrams) > 0  # as the preset has it
    assert command("evaluate", tmp_path / "h", folder)[0] == 0
    assert json.loads((tmp_path / "h" / "metrics.json").read_text())["P@1"] > 90

    status, _, said = command("train", "hybrid", run, "--out", tmp_path / "h", *TREES)
    assert (status, said.count("\n")) == (2, 1)
    assert "is finished" in said

    (tmp_path / "new").mkdir()
    moved = folder.rename(tmp_path / "new" / "planted")
    status, _, said = command("train", "hybrid", run, "--out", tmp_path / "m", *TREES)
    assert (status, said.count("\n")) == (2, 1)
    assert f"which lay in {folder}; expected its data set. Give it by --data." in said
    assert not (tmp_path / "m").exists()
    status, _, said = command("train", "hybrid", run, "--data", moved, "--out", tmp_path / "m", *TREES)
    assert status == 0, said
    assert megalabel.load(tmp_path / "m").label_texts == model.label_texts


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["RUN/nowhere"], "no run in"),
        (["RUN"], "Give it by --data"),  # made from memory: its data never lay anywhere
        (["RUN", "--data", "bundled:nothing"], "no bundled data set"),
        (["RUN", "--data", "FOLDER", "--weights", "1"], "which is not this"),
    ],
    ids=["no run", "no data", "no such data", "other data"],
)
def test_wrong_input_is_one_line(arguments, told, command, bag_run, folder, tmp_path):
    (folder / "trn_X.txt").write_text("other words\n" * 400)
    given = [a.replace("RUN", str(bag_run)).replace("FOLDER", str(folder)) for a in arguments]
    status, _, said = command("train", "hybrid", *given, "--out", tmp_path / "h")
    assert status == 2
    assert told in said.splitlines()[-1]
    assert not (tmp_path / "h").exists()
