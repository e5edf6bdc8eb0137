"""No recipe offers an option that it does not read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted import planted

from megalabel.recipes import get, names
from megalabel.training.options import Options

# Reading a value to copy or to check it makes no use of it.
COPIES = ("dataclasses", "megalabel.training.options", __name__)
CHECKS = ("__post_init__", "check_corpus", "refuse_for_a_bag")
BAG: dict[str, Any] = {"encoder": "bag", "tokenizer": "words", "max_length": 16, "epochs": 20, "batch_size": 32}


def noting(kind: type[Options], read: set[str]) -> type[Any]:
    """A subclass of a recipe's options that notes which of them are read."""

    class Noting(kind):
        def __getattribute__(self, name: str) -> Any:
            caller = sys._getframe(1)
            if caller.f_globals["__name__"] not in COPIES and caller.f_code.co_name not in CHECKS:
                read.add(name)
            return super().__getattribute__(name)

        def values(self) -> dict[str, Any]:
            return dict(vars(self))

    return Noting


@pytest.fixture
def ways(tiny_bert: Path, request: pytest.FixtureRequest) -> Callable[[str], list[dict[str, Any]]]:
    """Values with which a recipe uses all that it offers: with a bag and with a pretrained encoder."""
    bert = {**BAG, "encoder": str(tiny_bert), "tokenizer": "wordpiece"}
    sparse = {"fan_in": 8, "rewire_every": 20, "auxiliary_epochs": 1, "group": 16, "projection_dim": 32}

    def of(recipe: str) -> list[dict[str, Any]]:
        if recipe == "linear":
            return [{"clusters": (4,), "trees": 1}]
        if recipe == "retrieval":
            return [{}]
        if recipe == "hybrid":
            return [{"run": str(request.getfixturevalue("bag_run")), "clusters": (4,), "trees": 1}]
        if recipe == "distill":
            texts = request.getfixturevalue("tmp_path") / "more.txt"
            texts.write_text("w1a w1b\nw2a w2b\n")
            return [{"run": str(request.getfixturevalue("bag_run")), "clusters": (4,), "texts": str(texts)}]
        if recipe == "chunked":
            run = str(request.getfixturevalue("bag_run"))
            return [{"run": run, "chunk_words": (2, 3)}, {"run": run}]
        more: dict[str, Any] = {
            "renee": {"warmup": 0.1, "bias": True},
            "elmo": {"warmup": 0.1, "bias": True},
            "spartex": {**sparse, "warmup": 0.1, "head_optimizer": "sgd"},
            "cascadexml": {"clusters": (4, 8)},
            "lightxml": {"clusters": (8,)},
            "dexml": {"negatives": 4, "hard_negatives": 2},
            "ngame": {"warmup": 0.1},
        }[recipe]
        of_layers = {"cascadexml": {"layers": (0.5, 0.5, 1.0, 1.0)}, "lightxml": {"last_layers": 2}}.get(
            recipe, {}
        )
        return [{**BAG, **more}, {**bert, **more, **of_layers}, {**BAG, **more, "head_optimizer": "adamw"}]

    return of


@pytest.mark.parametrize("name", names())
def test_every_option_that_a_recipe_offers_is_read(name: str, ways: Callable[[str], list[dict[str, Any]]]) -> None:
    recipe, read = get(name), set[str]()
    for values in ways(name):
        given = {option: value for option, value in values.items() if option in recipe.options.declared}
        made = recipe(planted(), noting(recipe.options, read)(**given))
        if hasattr(made, "solve"):
            made.solve(lambda line: None)
    assert set(recipe.options.declared) - read == set()
