"""`tune`: searches over recipes, encoders and values of options within a given time, and keeps the best model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from megalabel.device import pick
from megalabel.errors import SettingError
from megalabel.inputs.token_store import sharing_tokens
from megalabel.models.base import Classifier, load
from megalabel.recipes import get
from megalabel.recipes.embedded import sharing_embeddings
from megalabel.storage.paths import as_path
from megalabel.training.options import check_names
from megalabel.training.recipe import RecipeFunction, check_corpus
from megalabel.training.run_folder import data_facts
from megalabel.training.run_lock import writing
from megalabel.training.selection import check as check_metric
from megalabel.training.trust import trusted
from megalabel.tuning.auto import AUTO, Given, auto
from megalabel.tuning.candidates import first_candidate
from megalabel.tuning.conclusion import concluded, last_training
from megalabel.tuning.folder import is_finished
from megalabel.tuning.history import History
from megalabel.tuning.limits import Limits
from megalabel.tuning.strategies import Halving, one_by_one
from megalabel.tuning.trials import Say, Setting, Trials

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

HELD_OUT, MOST_HELD_OUT = 0.05, 0.2  # fraction of the texts that is held out, and of few texts at most
LEAST_HELD = 300  # texts held out, if that is not more than MOST_HELD_OUT


def tune(
    corpus: Corpus,
    out: str | Path,
    recipe: str | RecipeFunction[Any, Any] = AUTO,
    *,
    minutes: float = 20.0,
    metric: str = "nDCG@5",
    max_size: str | float | None = None,
    max_latency: str | float | None = None,
    encoders: Sequence[str] = (),
    seed: int = 0,
    device: str | torch.device | None = None,
    quiet: bool = False,
    say: Say | None = None,
    begun: float | None = None,
    **values: Any,
) -> Classifier:
    """Searches for the best recipe and values of options on a data set, and returns the model that it chose.

    Part of the training texts is held out, the same in all trials, and trials are compared by `metric` on it. The
    test split is not read. The folder `out` becomes a run folder with the chosen model; `trials.jsonl` has a line
    for each trial, and `chosen.toml` the chosen values. An interrupted search resumes without repeating finished
    trials. One seed tries the same candidates in the same order; the clock decides how many.

    Args:
        corpus: the data set.
        out: the folder of the search.
        recipe: "auto" to search over recipes, or a recipe to search over its options.
        minutes: the time for the search, including the last training.
        metric: P@k, nDCG@k, PSP@k, PSnDCG@k or R@k.
        max_size: the maximum size of the model, such as "200MB"; a number is in MB (10⁶ bytes).
        max_latency: the maximum time for a single text, such as "5ms"; a number is in ms.
        encoders: encoders that "auto" tries; by default bag, small and, if its package is installed, minilm.
        seed: seeds all trials.
        device: where trials are trained; the first GPU if there is one, else the CPU.
        quiet: print nothing.
        say: takes lines of progress; by default they are printed.
        begun: `time.monotonic()` at the start, if that was before this call.
        values: values of options that all candidates have.

    Raises:
        SettingError: an invalid argument, or `out` holds something else, or another search; no trial was finished,
            or none is within the limits.
    """
    begun = time.monotonic() if begun is None else begun
    say = (lambda line: None) if quiet else say or print
    _check(corpus, minutes, metric, device)
    limits, out = Limits.parse(max_size, max_latency), as_path(out, "out")
    name = recipe if isinstance(recipe, str) else recipe.address
    values = _checked(name, values)
    facts = {"recipe": name, "values": values, "encoders": list(encoders), "metric": metric, "seed": seed}
    facts["data"] = data_facts(corpus)
    with writing(out), sharing_tokens(), sharing_embeddings():
        if is_finished(out, facts):
            say(f"the search in {out} is finished; --overwrite searches again")
            return load(out, device=device, trust=trusted())
        setting = Setting(corpus, out, held_out_fraction(len(corpus.train)), metric, limits, seed, device, say)
        trials = Trials(setting, History(out, 60 * minutes, begun))
        _search(trials, name, Given(values, tuple(encoders), seed))
        return concluded(trials, facts)


def _check(corpus: Any, minutes: Any, metric: str, device: Any) -> None:
    """Raises SettingError for arguments of `tune` that are invalid."""
    check_corpus(corpus)
    check_metric(metric)
    pick(device)
    if not (isinstance(minutes, (int, float)) and 0 < minutes < 1e6):
        raise SettingError.range("minutes", minutes, 0, 1e6)


def held_out_fraction(n: int) -> float:
    """The fraction of n texts that is held out: a twentieth, more of few texts."""
    return min(max(HELD_OUT, LEAST_HELD / max(n, 1)), MOST_HELD_OUT)


def _search(trials: Trials, name: str, given: Given) -> None:
    history = trials.history
    if name == AUTO:
        auto(trials, given)
        return
    recipe = get(name, trust=trusted())
    start = first_candidate(recipe, given.values)
    if "epochs" in recipe.options.declared:
        Halving(trials, [start], given.values, given.seed).run(history.seconds)
    else:
        one_by_one(trials, start, given.values, given.seed, history.seconds, last_training(recipe))


def _checked(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the user by option name, checked; SettingError for an unknown recipe, name or value."""
    own = ("validation_fraction", "selection_metric", "seed")
    taken = [option for option in own if option in values]
    if taken:
        raise SettingError(
            f"the option {taken[0]}, which the search sets", wanted="other options", where=taken[0],
            next_step="use the arguments metric and seed of the search",
        )  # fmt: skip
    if name != AUTO:
        return dict(get(name, trust=trusted()).options.checked_values(values))
    recipes = [get(one) for one in ("linear", "retrieval", "ngame", "renee", "cascadexml", "hybrid")]
    check_names(values, {option: None for recipe in recipes for option in recipe.options.declared}, "auto")
    checked: dict[str, Any] = {}
    for recipe in recipes:
        checked |= recipe.options.checked_values({n: v for n, v in values.items() if n in recipe.options.declared})
    return checked
