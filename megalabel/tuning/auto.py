"""The search over recipes: linear models, an encoder with a head, and a hybrid of both.

Linear models take seconds and are tried first. Then encoders and heads compete by successive halving for as long
as leaves time for the hybrid, which builds on the best of them and is nearly always the best model. One of the
encoders is first trained on the label texts by `ngame`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from megalabel.encoders.names import installed
from megalabel.errors import FormatError
from megalabel.recipes import get
from megalabel.recipes.chunk_choice import MOST_TEXTS, long_words
from megalabel.tuning.candidates import Candidate, first_candidate
from megalabel.tuning.conclusion import REFIT_COST
from megalabel.tuning.history import Result
from megalabel.tuning.strategies import ROOM, Halving, one_by_one
from megalabel.tuning.trials import Trials

AUTO = "auto"
SMALL_ENCODERS = ("bag", "small")
PRETRAINED = "minilm"  # tried where its package is installed
NEURAL = (("renee", "bag"), ("cascadexml", "bag"), ("renee", PRETRAINED), ("renee", "small"))
LABEL_TEXT_EPOCHS, LABEL_TEXT_SHARE = 3, 0.15  # of a training on label texts: epochs, share of encoders' time
PRETRAINED_EPOCHS = 0.6  # of those of a candidate, if its encoder was trained before (docs/log.md, 2026-11-30)
LEAST_SHARE = 0.35  # of the time that is left after the linear models, for encoders and heads
WORD_COST = 1.1  # word trees and the merge of a hybrid over a linear model, which also chooses its settings
SOLVE_SHARE = 0.6  # of the time of a linear model, for its trees
DENSE_COST = 0.17  # a dense value over a sparse one in the solver (docs/log.md, 2026-11-30)
EMBEDDING_COST = 0.8  # embedding all texts with MiniLM, over an epoch of training it
LONG = 200  # words that a tenth of the texts exceeds where chunks of texts are tried
CHOICE_COST = 6.0  # the choice of chunks over reading the held-out texts one by one
CHUNKS_SHARE = 0.1  # of the time, for chunks of long texts


class Given(NamedTuple):
    """What the user fixed.

    values: values of options by name; each recipe takes those that it declares.
    encoders: encoders to try; empty for the usual ones.
    seed: seeds the variations.
    """

    values: Mapping[str, Any]
    encoders: Sequence[str]
    seed: int


def auto(trials: Trials, given: Given) -> None:
    """Runs the trials; the best result is that of `trials.best`."""
    long = has_long_texts(trials)
    _models(trials, given, trials.history.seconds * (1 - CHUNKS_SHARE if long else 1))
    if long:
        chunks(trials)


def has_long_texts(trials: Trials) -> bool:
    """Whether a tenth of the training texts has more than 200 words."""
    side = trials.setting.corpus.train
    return side.features is None and long_words(side.texts) > LONG


def chunks(trials: Trials) -> None:
    """Tries the best model so far on chunks of texts, if there is time; it stays the best without a gain."""
    best, left = trials.best, trials.history.remaining
    if best is None or best.recipe == "chunked":
        return
    needed = CHOICE_COST * min(MOST_TEXTS, trials.n_held) * best.latency_ms / 1000
    if ROOM * needed > left:
        trials.setting.say("no time is left for chunks of long texts")
        return
    trials.protected.append(best)
    trials.run(Candidate("chunked", {"run": str(trials.folder(best))}))


def _models(trials: Trials, given: Given, end: float) -> None:
    """Runs the trials of models that read whole texts, until the clock shows `end`."""
    history = trials.history
    linear = trials.run(_first("linear", given))
    trials.run(_first("retrieval", given))
    starts = [_first(recipe, given, encoder) for recipe, encoder in pairs(given.encoders)]
    left, reserve = end - history.elapsed, (1 + REFIT_COST) * hybrid_seconds(linear, 256, 3)
    until = history.elapsed + max(left - ROOM * reserve, LEAST_SHARE * left)
    starts = [*_pretrained(trials, given, starts, LABEL_TEXT_SHARE * (until - history.elapsed)), *starts]
    best = Halving(trials, starts, given.values, given.seed, lambda r: ROOM * embedding_seconds(r)).run(until)
    if best is None:
        if end - history.elapsed > ROOM * linear.seconds:
            one_by_one(trials, linear.candidate, given.values, given.seed, end, reserve=1.0)
        return
    trials.protected.append(best)
    left = (end - history.elapsed) / ROOM - embedding_seconds(best)
    numbers = [given.values["joint_trees"]] if "joint_trees" in given.values else [3, 2, 1, 0]
    joint = next((n for n in numbers if hybrid_seconds(linear, best.facts["dim"], n) < left), None)
    if joint is None:
        trials.setting.say("no time is left for a hybrid")
        return
    settings = {**linear.chosen, **_first("hybrid", given).values}  # word trees would choose the same again
    start = Candidate("hybrid", {**settings, "run": str(trials.folder(best)), "joint_trees": joint})
    one_by_one(trials, start, (*given.values, "joint_trees"), given.seed, end, reserve=REFIT_COST)


def _pretrained(trials: Trials, given: Given, starts: Sequence[Candidate], limit: float) -> list[Candidate]:
    """Renée from an encoder that was first trained on label texts, where a bag is tried and labels have texts.

    limit: seconds that the first training may take.
    """
    bag = next((c for c in starts if c.recipe == "renee" and c.values.get("encoder") == "bag"), None)
    if bag is None or trials.setting.corpus.label_texts.are_numbers():
        return []
    result = trials.run(_first("ngame", given, "bag"), epochs=LABEL_TEXT_EPOCHS, limit=limit)
    if not result.finished:
        return []
    trials.protected.append(result)
    share = 1.0 if "epochs" in given.values else PRETRAINED_EPOCHS
    epochs = max(1, round(share * int(bag.values["epochs"])))
    return [bag.changed(encoder=str(trials.folder(result)), epochs=epochs)]


def pairs(encoders: Sequence[str]) -> list[tuple[str, str]]:
    """The neural recipes and encoders to try first."""
    if encoders:
        return [(recipe, encoder) for encoder in encoders for recipe in ("renee", "cascadexml")]
    return [(recipe, encoder) for recipe, encoder in NEURAL if encoder in SMALL_ENCODERS or _installed(encoder)]


def hybrid_seconds(linear: Result, dim: float, joint_trees: int) -> float:
    """An estimate of the time that a hybrid with the settings of a linear model takes beside its base run.

    Args:
        linear: the result of a linear model.
        dim: the width of the embedding, which the rows of joint trees have beside the words.
        joint_trees: the number of joint trees.
    """
    seconds, words = linear.facts.get("seconds", linear.seconds), max(linear.facts.get("features", 0.0), 1.0)
    trees = int(linear.values.get("trees", get("linear").options.declared["trees"].default))
    joint = SOLVE_SHARE * seconds / trees * (1 + DENSE_COST * dim / words)
    return WORD_COST * seconds + joint_trees * joint


def embedding_seconds(result: Result) -> float:
    """An estimate of the time in which an encoder embeds all training texts, from a trial that trained it."""
    return EMBEDDING_COST * result.seconds / max(result.epochs or 1, 1)


@functools.cache
def _installed(encoder: str) -> bool:
    try:
        return installed(encoder) is not None
    except FormatError:
        return False


def _first(recipe: str, given: Given, encoder: str | None = None) -> Candidate:
    function = get(recipe)
    fixed = {name: value for name, value in given.values.items() if name in function.options.declared}
    return first_candidate(function, fixed if encoder is None else {**fixed, "encoder": encoder})
