"""A recipe, from the start or from its last checkpoint, to a saved model."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megalabel.errors import SettingError
from megalabel.files import read_json, recover, write_json
from megalabel.metrics.ranking import measure
from megalabel.model import Model
from megalabel.training import checkpoint
from megalabel.training.log import Log, give_back_memory, peak_mb
from megalabel.training.loop import Position, fit, scaler_for
from megalabel.training.recipe import Recipe
from megalabel.version import __version__


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    device: str | torch.device | None = None,
    checkpoint_seconds: float = 300.0,
    checkpoint_steps: int | None = None,
    validate_epochs: float = 1.0,
    quiet: bool = False,
) -> Model:
    """Trains a recipe into the run folder `out` and returns the model.

    A run that was cut off goes on from its last checkpoint; on a CPU it ends with the very weights that
    it would have had. With a validation split the model kept is the best by `recipe.select`, and training
    stops after `recipe.patience` validations without a gain (0: never); otherwise it is the last.

    Args:
        recipe: from a recipe function, such as `megalabel.recipes.renee.renee(corpus)`.
        out: the run folder: recipe.json, model/, last/, log.jsonl.
        device: "cpu", "cuda", …; the first GPU if there is one, else the CPU.
        checkpoint_seconds: time between checkpoints.
        checkpoint_steps: steps between checkpoints, instead of time.
        validate_epochs: epochs (or a share of one) between validations.
        quiet: say nothing on the screen.

    Raises:
        SettingError: `out` holds a finished run, or a run with other arguments.
    """
    out, where = Path(out), torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    _claim(out, recipe)
    recipe.encoder.to(where)
    recipe.head.to(where)
    scaler, position = scaler_for(where, recipe.precision), Position()
    recipe.encoder.prepare(recipe.batches.rows, out / "cache", where)
    resumed = checkpoint.newest(out / "last")
    if resumed is not None:
        position = Position(**checkpoint.load(resumed, recipe, scaler))
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
            stop = _validate(recipe, model, position, log, out)
        position.seconds = time.monotonic() - begun
        by_steps = checkpoint_steps and position.step % checkpoint_steps == 0
        if not last and not stop and (by_steps or time.monotonic() - saved > checkpoint_seconds):
            checkpoint.save(out / "last", recipe, scaler, asdict(position))
            saved = time.monotonic()
        return stop

    with log:
        if resumed is not None:
            log.say(f"going on at step {position.step:,} of {recipe.batches.steps:,}")
        fit(recipe, position, device=where, scaler=scaler, log=log, between=between)
        log.line(position.step - 1, peak_mb=peak_mb(), done=True)
    recipe.encoder.eval()
    recipe.head.eval()
    if len(recipe.validation):
        model = Model.load(out / "model", device=where)
    else:
        model.save(out / "model")
    facts = {
        "seconds": time.monotonic() - begun,
        "steps": position.step,
        "peak_mb": peak_mb(),
        "weights_mb": _megabytes([*recipe.encoder.state_dict().values(), *recipe.head.state_dict().values()]),
        "optimizers_mb": _megabytes(recipe.optimizers.tensors()),
    }
    _finish(out, recipe, facts)
    return model


def _validate(recipe: Recipe, model: Model, position: Position, log: Log, out: Path) -> bool:
    held = np.asarray(recipe.validation)
    top = model.topk(recipe.data.train.texts[held], k=5)
    found = measure(top, recipe.data.train.labels[held])
    if recipe.select not in found:
        raise SettingError(
            f"select = {recipe.select!r}", wanted=", ".join(found), next_step="name one of these metrics"
        )
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
        model.save(out / "model")
    else:
        position.rounds_without_gain += 1
    return bool(recipe.patience) and position.rounds_without_gain >= recipe.patience


def _megabytes(tensors: Iterable[torch.Tensor]) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6


def _claim(out: Path, recipe: Recipe) -> None:
    """Writes `recipe.json`, or checks that the one there is this very recipe, unfinished."""
    facts = {
        "recipe": recipe.name,
        "arguments": recipe.arguments,
        "data": {
            "name": recipe.data.name,
            "path": str(recipe.data.path) if recipe.data.path else None,
            "texts": len(recipe.data.train),
            "labels": recipe.data.n_labels,
        },
    }
    if not (out / "recipe.json").exists():
        if out.exists() and any(p.name not in ("last", "cache") for p in out.iterdir()):
            raise SettingError(
                f"the folder {out} holds other things",
                wanted="a new folder, or the folder of a run",
                next_step="give another --out",
            )
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "recipe.json", {**facts, "version": __version__, "finished": None})
        return
    recover(out / "model")
    there = read_json(out / "recipe.json", next_step="give another --out")
    if there.get("finished"):
        raise SettingError(f"the run in {out} is finished", wanted="a new folder", next_step="give another --out")
    _same(facts, there, out)


def _same(facts: dict[str, Any], there: dict[str, Any], out: Path) -> None:
    for part in ("recipe", "arguments", "data"):
        if there.get(part) == facts[part]:
            continue
        before, now = there.get(part), facts[part]
        if isinstance(before, dict) and isinstance(now, dict):
            keys = [k for k in {**before, **now} if before.get(k) != now.get(k)]
            before, now = ({k: side.get(k) for k in keys} for side in (before, now))
        raise SettingError(
            f"the unfinished run in {out} has {part} {before}, this one {now}",
            wanted="the same, to go on with it",
            next_step="repeat the first command, or give another --out",
        )


def _finish(out: Path, recipe: Recipe, facts: dict[str, Any]) -> None:
    import shutil

    there = read_json(out / "recipe.json", next_step="give another --out")
    there["finished"] = {k: round(v, 1) for k, v in facts.items()}
    write_json(out / "recipe.json", there)
    for folder in ("last", "cache"):
        shutil.rmtree(out / folder, ignore_errors=True)
