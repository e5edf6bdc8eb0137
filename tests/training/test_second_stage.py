"""What a recipe makes of its trained model: kept in place of it, and repeated where it was cut off."""

import json
from dataclasses import replace

import pytest
from bag_runs import KNOBS
from planted import planted

import megalabel
from megalabel.models.neural import NeuralClassifier
from megalabel.recipes.renee import renee


class Killed(Exception):
    pass


def killed(*_):
    raise Killed


def twice(model, say):
    """An ensemble of the model and itself."""
    say("twice")
    return megalabel.Ensemble([model, model])


def made(**more):
    return replace(renee(planted(), **{**KNOBS["renee"], "epochs": 2, **more}), second_stage=twice)


def answers(model):
    return [part.tolist() for part in model.topk(planted().test.texts, 5).numpy()]


@pytest.mark.parametrize("when", ["second stage", "save"])
@pytest.mark.parametrize(
    "more", [{}, {"patience": 1, "epochs": 8, "selection_metric": "R@1"}], ids=["", "patience"]
)
def test_cut_off_behind_the_training_it_goes_on_without_training_again(when, more, tmp_path, monkeypatch):
    whole = megalabel.train(made(**more), tmp_path / "whole", quiet=True)
    assert isinstance(whole, megalabel.Ensemble)
    out = tmp_path / "cut"
    if when == "second stage":
        with pytest.raises(Killed):
            megalabel.train(replace(made(**more), second_stage=killed), out, quiet=True)
    else:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(megalabel.Ensemble, "save", killed)
            megalabel.train(made(**more), out, quiet=True)
    assert isinstance(megalabel.load(out / "first"), NeuralClassifier)
    before = (out / "log.jsonl").read_text()
    with monkeypatch.context() as patch:
        patch.setattr("megalabel.training.loop.train_step", killed)
        again = megalabel.train(made(**more), out, quiet=True)
    assert answers(again) == answers(whole) == answers(megalabel.load(out))
    assert (out / "log.jsonl").read_text() == before
    assert sorted(p.name for p in out.iterdir()) == ["held_out.npy", "log.jsonl", "model", "recipe.json"]
    steps = [
        json.loads((run / "recipe.json").read_text())["finished"]["steps"] for run in (tmp_path / "whole", out)
    ]
    assert steps[0] == steps[1]
