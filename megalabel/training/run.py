"""A recipe, from the start or from its last checkpoint, to a saved model."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from megalabel.data.filters import filter_of
from megalabel.device import pick
from megalabel.errors import SettingError
from megalabel.metrics.ranking import measure
from megalabel.models.base import Ranker, load
from megalabel.models.neural import Model
from megalabel.training import checkpoint, selection
from megalabel.training.folder import FIRST, claim, finish
from megalabel.training.log import Log, give_back_memory, peak_mb
from megalabel.training.loop import Position, embedded, fit, scaler_for
from megalabel.training.recipe import Recipe, Solved
from megalabel.training.solved import solve


def train(
    recipe: Recipe | Solved,
    out: str | Path,
    *,
    device: str | torch.device | None = None,
    checkpoint_seconds: float = 300.0,
    checkpoint_steps: int | None = None,
    validate_epochs: float = 1.0,
    quiet: bool = False,
) -> Ranker:
    """Trains a recipe into the run folder `out` and returns the model.

    That is a `Model`, or what the recipe's `then` makes of it, or what a `Solved` recipe gives.

    If `out` holds a finished run of the same recipe, arguments and data, its model is loaded.
    A run that was cut off goes on from its last checkpoint; on a CPU it ends with the very weights that
    it would have had. With a validation split the model kept is the best by `recipe.select`, and training
    stops after `recipe.patience` validations without a gain (0: never); otherwise it is the last.

    Args:
        recipe: from a recipe function, such as `megalabel.recipes.renee.renee(corpus)`.
        out: the run folder: recipe.json, model/, last/, log.jsonl; first/ while `then` is at work.
        device: "cpu", "cuda", …; the first GPU if there is one, else the CPU.
        checkpoint_seconds: time between checkpoints.
        checkpoint_steps: steps between checkpoints, instead of time.
        validate_epochs: epochs (or a share of one) between validations.
        quiet: say nothing on the screen.

    Raises:
        SettingError: `out` holds a run with another recipe, other arguments or other data; a setting that
            cannot be right.
    """
    if isinstance(recipe, Solved):
        return solve(recipe, Path(out), pick(device), quiet=quiet)
    _check(recipe, checkpoint_seconds, checkpoint_steps, validate_epochs)
    out, where = Path(out), pick(device)
    trained = out / ("model" if recipe.then is None else FIRST)
    scaler, position = scaler_for(where, recipe.precision), Position()
    if claim(out, recipe):
        parts = (recipe.encoder, recipe.head)  # the caller made them, and so trusts their modules
        return load(out, device=where, trust=[type(part).__module__.split(".")[0] for part in parts])
    recipe.encoder.to(where)
    recipe.head.to(where)
    recipe.encoder.prepare(recipe.batches.rows, out / "cache", where)
    resumed = checkpoint.newest(out / "last")
    if resumed is not None:
        position = Position(**checkpoint.load(resumed, recipe, scaler))
    else:
        recipe.head.prepare(functools.cache(functools.partial(embedded, recipe, where)))
    checkpoint.cut_log(out / "log.jsonl", position.step)
    model = Model(recipe.encoder, recipe.head, recipe.data.label_texts, recipe.max_length)
    every = max(1, round(validate_epochs * recipe.batches.per_epoch))
    begun, saved = time.monotonic() - position.seconds, time.monotonic()
    give_back_memory()
    log = Log(
        out / "log.jsonl",
        step=position.step,
        steps=recipe.batches.steps,
        per_epoch=recipe.batches.per_epoch,
        quiet=quiet,
    )

    def between(position: Position) -> bool:
        nonlocal saved
        stop, last = False, position.step == recipe.batches.steps
        if len(recipe.validation) and (position.step % every == 0 or last):
            stop = _validate(recipe, model, position, log, trained)
        position.seconds = time.monotonic() - begun
        by_steps = checkpoint_steps and position.step % checkpoint_steps == 0
        if not last and not stop and (by_steps or time.monotonic() - saved > checkpoint_seconds):
            checkpoint.save(out / "last", recipe, scaler, asdict(position))
            saved = time.monotonic()
        return stop

    with log:
        if resumed is not None:
            log.say(f"going on at step {position.step:,} of {recipe.batches.steps:,}")
        cut_off_in_then = position.step == recipe.batches.steps or _in_vain(recipe, position)
        if not cut_off_in_then:
            fit(recipe, position, device=where, scaler=scaler, log=log, between=between)
            log.line(position.step - 1, peak_mb=peak_mb(), done=True)
    if len(recipe.validation):
        model.restore(trained)
    else:
        recipe.encoder.eval()
        recipe.head.eval()
        model.save(trained)
    ranker: Ranker = model
    if recipe.then is not None:
        if not cut_off_in_then:
            checkpoint.save(out / "last", recipe, scaler, asdict(position))  # so that what follows can be repeated
        ranker = recipe.then(model, log.say)
        ranker.save(out / "model")
    facts = {
        "seconds": time.monotonic() - begun,
        "steps": position.step,
        "peak_mb": peak_mb(),
        "weights_mb": _megabytes([*recipe.encoder.state_dict().values(), *recipe.head.state_dict().values()]),
        "optimizers_mb": _megabytes(recipe.optimizers.tensors()),
        "head_mb": _megabytes([*recipe.head.state_dict().values(), *recipe.optimizers.tensors("head")]),
    }
    finish(out, facts)
    return ranker


def _validate(recipe: Recipe, model: Model, position: Position, log: Log, trained: Path) -> bool:
    held = np.asarray(recipe.validation)
    side = recipe.data.train
    depths = selection.depths(recipe.select)
    top = model.topk(side.texts[held], k=max(depths), exclude=filter_of(side, held))
    weights = selection.weights(recipe.select, recipe.data)
    found = measure(top, side.labels[held], k=depths, inverse_propensity=weights)
    log.line(position.step - 1, validation={k: round(v, 3) for k, v in found.items()})
    log.say(
        f"step {position.step:,}: validation P@1 {found['P@1']:.2f}  {recipe.select} {found[recipe.select]:.2f}"
    )
    if found[recipe.select] > position.best:
        position.best, position.best_step, position.rounds_without_gain = (
            found[recipe.select],
            position.step,
            0,
        )
        model.save(trained)
    else:
        position.rounds_without_gain += 1
    return _in_vain(recipe, position)


def _in_vain(recipe: Recipe, position: Position) -> bool:
    """Whether so many validations brought no gain that training ends."""
    return bool(recipe.patience) and position.rounds_without_gain >= recipe.patience


def _megabytes(tensors: Iterable[torch.Tensor]) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6


def _check(recipe: Recipe, seconds: float, steps: int | None, validate_epochs: float) -> None:
    """Refuses before training what would fail, or be ignored, in the middle of it."""
    if not isinstance(recipe, Recipe):
        raise SettingError(
            f"a {type(recipe).__name__}",
            wanted="what a recipe function makes",
            next_step='write train(megalabel.recipes.from_preset("renee", data), out)',
            where="recipe",
        )
    for name, value, fits in (
        ("checkpoint_seconds", seconds, seconds >= 0),
        ("checkpoint_steps", steps, steps is None or steps >= 1),
        ("validate_epochs", validate_epochs, 0 < validate_epochs < float("inf")),
    ):
        if not fits:  # NaN too
            raise SettingError(f"{name} = {value}", wanted="a number above 0", next_step="leave it out")
    selection.check(recipe.select)
    if len(recipe.validation) == 0:
        return
    if recipe.data.train.labels[np.asarray(recipe.validation)].nnz == 0:
        raise SettingError(
            f"none of the {len(recipe.validation)} texts held out for validation has a label",
            wanted="labels to choose the best model by",
            next_step="raise validation, give another seed, or give validation 0",
        )
