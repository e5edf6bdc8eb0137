"""Candidates of a search: a recipe with values of its options, and the values that are tried beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from megalabel.errors import MegalabelError
from megalabel.recipes.presets import find, taken
from megalabel.training.recipe import RecipeFunction

ANY_SET = ""  # a name that no data set has, so that only presets for any data set fit
MAX_CHANGES = 3  # options that differ between a candidate and the one it was made from


class Varied(NamedTuple):
    """The values of an option that a search tries.

    choices: values to choose from.
    factors: or factors of the present value.
    encoders: the encoders for which the option is varied; empty for all.
    """

    choices: tuple[Any, ...] = ()
    factors: tuple[float, ...] = ()
    encoders: tuple[str, ...] = ()


# By the name of the option; every recipe that declares the option is searched over it. The first entries of a
# recipe are those that mattered most on the validation splits in docs/log.md.
VARIED: dict[str, Varied] = {
    "tokenizer": Varied(choices=("wordpiece", "words", "symbols"), encoders=("bag", "small")),
    "label_texts": Varied(choices=("yes", "no")),
    "head_lr": Varied(factors=(0.5, 2.0)),
    "dropout": Varied(choices=(0.2, 0.3, 0.4, 0.5, 0.6)),
    "token_lr": Varied(factors=(0.5, 2.0)),
    "encoder_lr": Varied(factors=(0.5, 2.0)),
    "bigram_min_count": Varied(choices=(0, 2, 5), encoders=("bag",)),
    "token_dropout": Varied(choices=(0.0, 0.1, 0.2)),
    "batch_size": Varied(factors=(0.5, 2.0)),
    "c": Varied(choices=(0.5, 1.0, 2.0, 4.0)),
    "trees": Varied(choices=(1, 3, 5)),
    "prune_below": Varied(choices=(0.05, 0.1, 0.15)),
    "beam_size": Varied(choices=(10, 20)),
    "post_processor": Varied(choices=("l3-hinge", "sigmoid")),
    "token_pattern": Varied(choices=("letters", "words", "signs", "symbols")),
    "char_ngrams": Varied(choices=("yes", "no")),
    "bigrams": Varied(choices=("yes", "no")),
    "min_texts": Varied(choices=(1, 2)),
    "embedding_norm": Varied(choices=(0.2, 0.3, 0.5)),
    "joint_trees": Varied(choices=(1, 3)),
}
LAST = ("c", "label_texts", "token_pattern", "char_ngrams", "bigrams", "min_texts")  # chosen by `linear` itself


@dataclass(frozen=True)
class Candidate:
    """A recipe with values of some of its options; the others have their defaults.

    recipe: its address.
    values: values by name; plain Python.
    """

    recipe: str
    values: Mapping[str, Any]

    @property
    def key(self) -> str:
        """A text that is equal for equal candidates."""
        return json.dumps([self.recipe, dict(self.values)], sort_keys=True, default=list)

    def changed(self, **values: Any) -> Candidate:
        """The candidate with other values of some options."""
        return Candidate(self.recipe, {**self.values, **values})


def first_candidate(recipe: RecipeFunction[Any, Any], fixed: Mapping[str, Any]) -> Candidate:
    """The candidate from which a search starts: the preset for any data set and the user's values.

    Args:
        recipe: the recipe.
        fixed: values that the user gave, which the search does not change.
    """
    preset = find(recipe, ANY_SET, fixed.get("encoder"))
    return Candidate(recipe.address, {**taken(preset, fixed), **fixed})


def variations(
    recipe: RecipeFunction[Any, Any], start: Candidate, fixed: Iterable[str], seed: int
) -> Iterator[Candidate]:
    """Yields different candidates: first each single change, then several changes at once.

    Single changes come in the order of `VARIED`; candidates that the recipe refuses are skipped. One seed gives
    one sequence.

    Args:
        recipe: the recipe.
        start: the candidate that is varied.
        fixed: names of options that are not changed.
        seed: seeds the changes of several options.
    """
    single = list(_single(recipe, start, set(fixed)))
    seen = {start.key}
    for changes in ({name: value} for name, value in single):
        found = _checked(recipe, start, changes)
        if found is not None and found.key not in seen:
            seen.add(found.key)
            yield found
    draw = np.random.default_rng([seed, 7])
    names = sorted({name for name, _ in single})
    for _ in range(1000 if len(names) > 1 else 0):
        some = draw.choice(len(names), size=min(len(names), int(draw.integers(2, MAX_CHANGES + 1))), replace=False)
        changes = {}
        for name in (names[i] for i in some):
            values = [value for other, value in single if other == name]
            changes[name] = values[int(draw.integers(len(values)))]
        found = _checked(recipe, start, changes)
        if found is not None and found.key not in seen:
            seen.add(found.key)
            yield found


def _single(recipe: RecipeFunction[Any, Any], start: Candidate, fixed: set[str]) -> Iterator[tuple[str, Any]]:
    """The changes of one option: one value of each option in turn, then the second value of each, and so on."""
    options = recipe.options.declared
    now = recipe.options.from_values({**_required(recipe), **start.values}).values()
    lists = []
    for name in sorted((n for n in VARIED if n in options), key=lambda n: n in LAST and "trees" in options):
        varied = VARIED[name]
        if name in fixed or (varied.encoders and now.get("encoder") not in varied.encoders):
            continue
        values = varied.choices
        if varied.factors and now[name]:
            values = tuple(type(now[name])(now[name] * factor) for factor in varied.factors)
        choices = options[name].choices
        allowed = [v for v in values if v != now[name] and (not choices or v in choices)]
        lists.append([(name, value) for value in allowed])
    for i in range(max(map(len, lists), default=0)):
        yield from (values[i] for values in lists if i < len(values))


def _checked(recipe: RecipeFunction[Any, Any], start: Candidate, changes: Mapping[str, Any]) -> Candidate | None:
    """The candidate with the changes; None if the recipe refuses the values."""
    candidate = start.changed(**changes)
    try:
        recipe.options.from_values({**_required(recipe), **candidate.values})
    except MegalabelError:
        return None
    return candidate


def _required(recipe: RecipeFunction[Any, Any]) -> dict[str, Any]:
    """A value for the run on which a recipe builds, which does not matter for the check of the others."""
    return {"run": ""} if "run" in recipe.options.declared else {}
