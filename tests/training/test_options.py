"""Options: what a field declares, which values are taken, and what is refused with which option's name."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import pytest

from megalabel.errors import SettingError
from megalabel.recipes import get, names
from megalabel.recipes.options import (
    FRACTION,
    METRIC,
    Matches,
    Options,
    PowerOfTwo,
    Unset,
    above,
    at_least,
    between,
)


class Few(Options):
    panel = "Few"

    epochs: Annotated[int, at_least(1), "Passes over the texts."] = 3
    rate: Annotated[float, above(0), "Learning rate."] = 0.1
    dropout: Annotated[float, FRACTION, "Dropout."] = 0.5
    until: Annotated[float, between(0, 1), "Fraction of the steps."] = 1
    bias: Annotated[bool, "Biases."] = False
    name: Annotated[str, "A name."] = "x"
    group: Annotated[Literal[1, 16], "Labels."] = 1
    texts: Annotated[Literal["auto", "yes", "no"], "Texts."] = "auto"
    clusters: Annotated[tuple[Annotated[int, PowerOfTwo()], ...], Unset("by size"), "Clusters."] = ()
    rates: Annotated[tuple[float, ...], "Rates."] = (0.5,)
    tree: Annotated[str | None, Unset("built"), "A folder."] = None
    reduction: Annotated[Literal["mean", "sum"] | None, Unset("by loss"), "Reduction."] = None
    metric: Annotated[str, METRIC, "Metric."] = "P@1"


class Fewer(Few):
    panel = "Fewer"

    epochs = 100
    beam: Annotated[int, at_least(1), "Beam."] = 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", math.nan), ("rate", 0), ("rate", math.inf), ("rate", "0.1"), ("rate", True), ("dropout", 1.0),
        ("dropout", -0.1), ("until", 1.5), ("epochs", 1.0), ("epochs", 0), ("epochs", None), ("bias", 1),
        ("bias", "yes"), ("name", None), ("name", 3), ("group", 24), ("group", True), ("texts", "x"),
        ("texts", ""), ("clusters", (10,)), ("clusters", [1.5]), ("clusters", [True]), ("clusters", 8),
        ("clusters", None), ("clusters", "8,x"), ("clusters", "8;16"), ("clusters", ","), ("rates", "a"),
        ("rates", (math.nan,)), ("tree", 3), ("reduction", ""), ("reduction", "max"), ("metric", "P@0"),
        ("metric", "P@7x"), ("metric", "accuracy"), ("metric", "macro-F1@5"),
    ],
)  # fmt: skip
def test_a_value_that_an_option_cannot_have_is_refused_by_its_name(name, value):
    with pytest.raises(SettingError) as refused:
        Few(**{name: value})
    assert refused.value.where == name


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("rate", np.float32(0.5), 0.5), ("epochs", np.int64(7), 7), ("dropout", 0, 0), ("until", 1.0, 1.0),
        ("name", Path("a"), "a"), ("group", 16, 16), ("texts", True, "yes"), ("texts", False, "no"),
        ("clusters", "8,16", (8, 16)), ("clusters", [8, np.int64(16)], (8, 16)), ("clusters", "8, 16,", (8, 16)),
        ("clusters", (), ()), ("rates", "0.5,0", (0.5, 0)), ("tree", None, None), ("tree", "t", "t"),
        ("reduction", "sum", "sum"), ("metric", "PSnDCG@100", "PSnDCG@100"),
    ],
)  # fmt: skip
def test_a_value_that_fits_is_taken_as_plain_python(name, value, taken):
    found = getattr(Few(**{name: value}), name)
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "7", 7), ("rate", "1e-3", 1e-3), ("rate", "2", 2.0), ("group", "16", 16),
        ("tree", "none", None),
        ("reduction", "none", None), ("clusters", "8,16", (8, 16)), ("name", "7", "7"), ("texts", "no", "no"),
    ],
)  # fmt: skip
def test_text_of_the_command_line_is_read_by_the_type_of_the_option(name, text, value):
    assert Few.declared[name].parse(text) == value


@pytest.mark.parametrize(("name", "text"), [("epochs", "7.5"), ("epochs", "x"), ("rate", "x"), ("group", "2")])
def test_text_that_an_option_cannot_read_is_refused(name, text):
    with pytest.raises(SettingError) as refused:
        Few.declared[name].parse(text)
    assert refused.value.where == name


def test_a_subclass_changes_defaults_and_keeps_the_rest():
    assert Fewer().epochs == 100
    assert Fewer.declared["epochs"] == dataclasses.replace(Few.declared["epochs"], default=100)
    assert Fewer.declared["beam"].panel == "Fewer"
    assert Few().epochs == 3
    assert list(Fewer().values()) == list(Fewer.declared)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Few().epochs = 4
    with pytest.raises(TypeError):
        Few(4)


def test_a_default_outside_its_range_is_refused_where_it_is_declared():
    with pytest.raises(SettingError) as refused:

        class Bad(Few):
            epochs = 0

    assert refused.value.where == "epochs"


@pytest.mark.parametrize(
    "hint", [int, Annotated[int, at_least(1)], Annotated[dict, "Help."], Annotated[list, "H."]]
)
def test_a_field_that_is_no_option_is_refused_where_it_is_declared(hint):
    with pytest.raises(SettingError) as refused:
        type("Bad", (Options,), {"__annotations__": {"field": hint}, "field": 1, "__module__": __name__})
    assert refused.value.where == "field"


def test_unknown_and_missing_names_are_refused_and_close_ones_are_shown():
    class Needing(Options):
        run: Annotated[str, "A run."]

    with pytest.raises(SettingError) as refused:
        Needing.from_values({})
    assert refused.value.where == "run"
    for given, meant in (("epoch", "epochs"), ("drop-out", "dropout"), ("depths", "clusters")):
        with pytest.raises(SettingError) as refused:
            Few.from_values({given: 1})
        assert refused.value.wanted == meant
    with pytest.raises(SettingError) as refused:
        Few.from_values({"zzzz": 1})
    assert all(name in refused.value.wanted for name in Few.declared)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("tree", "built"),
        ("clusters", "by size"),
        ("rates", "0.5"),
        ("bias", "no"),
        ("rate", "0.1"),
        ("group", "1"),
    ],
)
def test_defaults_are_shown_as_one_would_type_them(name, shown):
    assert Few.declared[name].shown() == shown


@pytest.mark.parametrize("recipe", names())
def test_every_number_of_a_recipe_has_a_range_and_every_option_a_sentence(recipe):
    for option in get(recipe).options.declared.values():
        assert option.kind in (str, bool) or option.checks or option.choices, option.name
        assert option.help.endswith("."), option.name
        assert option.unset or option.default not in (None, ()), option.name


def test_choices_are_those_of_the_parts():
    from megalabel.encoders.build import TOKENIZERS
    from megalabel.heads.rewiring import PRUNE, REGROW, REGROW_INITS, SCOPES
    from megalabel.heads.sparse_checks import GROUPS, INIT_CONNECTIONS
    from megalabel.heads.wrappers.projection import ACTIVATIONS
    from megalabel.inputs.words import TokenPattern
    from megalabel.kernels.all_labels.label_loss import LOSSES
    from megalabel.kernels.candidates.beam import PathScore
    from megalabel.kernels.linear.sparse_beam import PostProcessor
    from megalabel.labels.features import SOURCES
    from megalabel.metrics.ranking import UNWEIGHTED, WEIGHTED
    from megalabel.training.loop import PRECISIONS

    parts: dict[tuple[str, str], tuple[Any, ...]] = {
        ("renee", "tokenizer"): TOKENIZERS,
        ("renee", "precision"): ("auto", *PRECISIONS),
        ("cascadexml", "tree_source"): SOURCES,
        ("cascadexml", "path_score"): get_args(PathScore),
        ("spartex", "group"): GROUPS,
        ("spartex", "loss"): LOSSES,
        ("spartex", "projection_activation"): ACTIVATIONS,
        ("spartex", "prune"): (*PRUNE, "none"),
        ("spartex", "prune_scope"): SCOPES,
        ("spartex", "regrow"): REGROW,
        ("spartex", "regrow_init"): REGROW_INITS,
        ("spartex", "init_connections"): INIT_CONNECTIONS,
        ("linear", "token_pattern"): ("auto", *get_args(TokenPattern)),
        ("linear", "post_processor"): get_args(PostProcessor),
    }
    for (recipe, name), choices in parts.items():
        assert set(get(recipe).options.declared[name].choices) == set(choices), name
    assert isinstance(METRIC, Matches)
    assert all(METRIC.fits(f"{name}@5") for name in (*UNWEIGHTED, *WEIGHTED))
