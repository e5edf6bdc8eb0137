import inspect
import math

import numpy as np
import pytest

from megalabel.errors import SettingError
from megalabel.recipes import get, names
from megalabel.training.knobs import CHOICES, RANGES, TUPLES, checked


@pytest.mark.parametrize("recipe", names())
def test_every_number_of_a_recipe_has_a_range_and_a_default_inside(recipe):
    for name, parameter in inspect.signature(get(recipe)).parameters.items():
        if parameter.annotation in ("int", "float", *TUPLES):
            assert name in RANGES
        if parameter.default is not inspect.Parameter.empty:
            assert checked(name, parameter.default, parameter.annotation) == parameter.default


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("head_lr", "float", math.nan),
        ("head_lr", "float", -0.1),
        ("encoder_lr", "float", math.inf),
        ("token_lr", "float", "0.1"),
        ("head_lr", "float", True),
        ("dropout", "float", 1.0),
        ("dropout", "float", -0.1),
        ("token_dropout", "float", 1),
        ("head_momentum", "float", 1.5),
        ("head_std", "float", -1.0),
        ("clip", "float", -1.0),
        ("seed", "int", -1),
        ("seed", "int", 2**32),
        ("epochs", "int", 1.0),
        ("epochs", "int", 0),
        ("micro_batches", "int", 0),
        ("vocabulary", "int", 2),
        ("bias", "bool", 1),
        ("bias", "bool", "yes"),
        ("encoder", "str", None),
    ],
)
def test_what_no_knob_can_be_is_refused(name, kind, value):
    with pytest.raises(SettingError, match=f"{name} = "):
        checked(name, value, kind)


@pytest.mark.parametrize("given", ["10,13,16", [10, 13, 16], (10, np.int64(13), 16), "10, 13, 16,"])
def test_several_numbers(given):
    assert checked("depths", given, "tuple[int, ...]") == (10, 13, 16)
    assert checked("depths", (), "tuple[int, ...]") == ()
    assert checked("level_dropout", "0.5,0", "tuple[float, ...]") == (0.5, 0)


@pytest.mark.parametrize("given", ["10,x", "10;13", 13, [1.5], [True], [-1], "10,,nan", None])
def test_several_numbers_that_are_not(given):
    with pytest.raises(SettingError, match="depths = "):
        checked("depths", given, "tuple[int, ...]")


def test_numpy_numbers_become_pythons():
    assert type(checked("epochs", np.int64(3), "int")) is int
    assert type(checked("dropout", np.float32(0.5), "float")) is float
    assert type(checked("dropout", 0, "float")) is int  # as it was given


def test_other_types_are_not_judged():
    assert checked("tree", [1, 2], "list[int]") == [1, 2]


def test_the_choices_are_those_of_the_parts():
    from typing import get_args

    from megalabel.encoders.build import TOKENIZERS
    from megalabel.heads.rewiring import GROWTH, PRUNE, SCOPES, STARTS
    from megalabel.heads.sparse import CONNECT, GROUPS
    from megalabel.heads.wrappers.projection import ACTIVATIONS
    from megalabel.inputs.words import TokenPattern
    from megalabel.kernels.all_labels.label_loss import LOSSES
    from megalabel.kernels.candidates.beam import Scores
    from megalabel.kernels.linear.sparse_beam import Scores as Chance
    from megalabel.labels.features import SOURCES
    from megalabel.training.loop import PRECISIONS

    parts = {
        "tokenizer": TOKENIZERS, "precision": ("auto", *PRECISIONS), "tree_source": SOURCES, "group": GROUPS,
        "scores": get_args(Scores), "loss": LOSSES, "intermediate_activation": ACTIVATIONS, "growth": GROWTH,
        "prune": (*PRUNE, "none"), "connect": CONNECT, "split": get_args(TokenPattern), "chance": get_args(Chance),
        "prune_scope": SCOPES, "growth_start": STARTS,
    }  # fmt: skip
    assert {name: set(CHOICES[name]) for name in parts} == {name: set(choices) for name, choices in parts.items()}


def test_every_choice_is_a_knob_of_a_recipe():
    knobs = {name: p for recipe in names() for name, p in inspect.signature(get(recipe)).parameters.items()}
    assert CHOICES.keys() <= knobs.keys()
    for name, choices in CHOICES.items():
        assert [checked(name, choice, knobs[name].annotation) for choice in choices] == list(choices)


@pytest.mark.parametrize(
    ("name", "kind", "value"), [("group", "int", 24), ("loss", "str", ""), ("prune", "str", "x")]
)
def test_what_is_none_of_the_choices_is_refused(name, kind, value):
    with pytest.raises(SettingError, match=f"{name} = {value!r}.* or "):
        checked(name, value, kind)
