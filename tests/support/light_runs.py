"""Settings for short runs on the planted data, and interrupted runs."""

import pytest

import megalabel
from megalabel.recipes.renee import renee
from megalabel.training.log import Log

LIGHT = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=12, batch_size=32, warmup=0.1, dropout=0.1,
    bias=True, head_optimizer="adamw", head_lr=0.02, head_init_std=0.0, encoder_lr=0.002, token_lr=0.02,
)  # fmt: skip
SHORT = {**LIGHT, "epochs": 1, "log_every": 1, "validation_fraction": 0.0}


class Killed(Exception):
    """Ends a run between two steps."""


def cut_off(monkeypatch, data, out, step, arguments, recipe=renee):
    """Trains into `out`, and ends the run by an exception after a step."""
    told = Log.step

    def step_or_end(self, number, *rest):
        told(self, number, *rest)
        if number == step:
            raise Killed

    monkeypatch.setattr(Log, "step", step_or_end)
    with pytest.raises(Killed):
        megalabel.train(recipe(data, **arguments), out, checkpoint_steps=3, quiet=True)
    monkeypatch.setattr(Log, "step", told)
