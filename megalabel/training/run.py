"""Trains a recipe, from the start or from its last checkpoint, and saves the model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from megalabel.device import pick
from megalabel.distributed.world import World
from megalabel.models.base import Classifier, load
from megalabel.models.neural import NeuralClassifier
from megalabel.models.trained_on import TrainedOn
from megalabel.phases import phase, timed
from megalabel.storage.paths import as_path
from megalabel.training import checkpoint
from megalabel.training.arguments import check_arguments, check_place
from megalabel.training.calibration import calibrate_saved
from megalabel.training.checkpoints import Checkpoints
from megalabel.training.compiling import compile_transformers
from megalabel.training.direct import solve
from megalabel.training.divergence import check_weights, naming_checkpoint
from megalabel.training.log import Log, trim_memory, truncate_log
from megalabel.training.loop import Position, fit, scaler_for
from megalabel.training.memory import finished, timeline
from megalabel.training.notes import text_notes
from megalabel.training.preflight import preflight
from megalabel.training.processes import Processes
from megalabel.training.recipe import DirectRecipe, Recipe
from megalabel.training.resuming import check_lr_scale, note_threads, with_scaled_rates
from megalabel.training.run_folder import FIRST, create_run_folder, finish
from megalabel.training.sizes import sizes
from megalabel.training.trained import inference_head, model_of, validated

Callback = Callable[[dict[str, Any]], Any]


@timed()
def train(
    recipe: Recipe | DirectRecipe,
    out: str | Path,
    *,
    device: str | torch.device | None = None,
    checkpoint_seconds: float = 300.0,
    checkpoint_steps: int | None = None,
    validate_epochs: float | None = None,
    lr_scale: float | None = None,
    quiet: bool = False,
    callback: Callback | None = None,
) -> Classifier:
    """Trains a recipe into the run folder `out` and returns the model that it saved there.

    The model is a `NeuralClassifier`, the result of the recipe's second stage, or the model of a `DirectRecipe`.

    If `out` holds a finished run of the same recipe, arguments and data, its model is loaded. An interrupted run
    resumes from its last checkpoint; on a CPU with the same number of threads, the final weights are exactly those
    of an uninterrupted run. Ctrl-C, SIGTERM and SIGHUP stop the training after the current step, with a
    checkpoint. With a validation split, the model with the best `recipe.selection_metric` is saved, and training
    stops after `recipe.patience` validations without an improvement (0: never); otherwise the last model is saved.

    In a job of several processes (`megalabel.distributed.session`) every process calls this function. Rank 0
    alone writes the folder; the returned model has the labels of its own process, and predicts where all call it.

    Args:
        recipe: the result of a recipe function, such as `megalabel.recipes.renee.renee(corpus)`.
        out: the run folder: recipe.json, held_out.npy, model/, last/, log.jsonl; first/ during a second stage.
        device: "cpu", "cuda", …; the first GPU if there is one, else the CPU.
        checkpoint_seconds: time between checkpoints.
        checkpoint_steps: steps between checkpoints, instead of time.
        validate_epochs: epochs (or a fraction of one) between validations; by default the recipe's.
        lr_scale: all learning rates of the recipe times this, from where the run starts or resumes; None for the
            scale that it had, at first 1. A run that diverged can resume in this way.
        quiet: show nothing on the screen.
        callback: called with each line of log.jsonl as a dictionary. If it returns True, the training ends after
            the present step. An exception that it raises stops it, and the run can be resumed.

    Raises:
        SettingError: `out` holds a run with another recipe, other arguments or other data; a setting is invalid;
            `preflight` found an error in the recipe; or another process writes to `out`.
        DataError: training has diverged: the loss is NaN or infinite, or the loss or a weight is extremely large.
    """
    out = as_path(out, "out")
    check_lr_scale(lr_scale, recipe)
    if isinstance(recipe, DirectRecipe):
        with (processes := Processes(World.current())).writing(out):
            return solve(recipe, out, pick(device), processes, quiet=quiet)
    check_arguments(recipe, checkpoint_seconds, checkpoint_steps, validate_epochs, callback)
    run = Run(recipe, out, pick(device), quiet=quiet, callback=callback)
    with run.processes.writing(out):
        run.processes.compare(recipe, out, (lr_scale, checkpoint_steps, validate_epochs))
        if run.processes.by_main(lambda: create_run_folder(out, recipe)):
            parts = (recipe.encoder, recipe.head)  # created by the caller, who thus trusts their modules
            return load(out, device=run.device, trust=[type(part).__module__.split(".")[0] for part in parts])
        run.begin(lr_scale)
        run.fit(checkpoint_seconds, checkpoint_steps, validate_epochs or recipe.validate_epochs)
        return run.finish()


class Run:
    """The training of a recipe in a run folder `out`: validates, writes checkpoints, and saves the model."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        device: torch.device,
        *,
        quiet: bool = False,
        callback: Callback | None = None,
    ) -> None:
        check_place(recipe, device)
        self.processes = Processes(World.current())
        quiet, callback = (quiet, callback) if self.processes.world.is_main else (True, None)
        recipe = self.processes.shared(recipe, device)
        self.recipe, self.out, self.device, self.quiet, self.callback = recipe, out, device, quiet, callback
        self.trained = out / ("model" if recipe.second_stage is None else FIRST)
        self.scaler, self.position, self.started = scaler_for(device, recipe.precision), Position(), 0
        self.begun = self.saved = time.monotonic()
        self.resumed, self.fitted, self.trained_on = False, False, TrainedOn.from_data(recipe.data)
        self.said: list[str] = []
        self.planned, self.moment = timeline(recipe, device, torch.get_num_threads())

    @phase("preparing")
    def begin(self, lr_scale: float | None = None) -> None:
        """Moves the modules to the device, and loads the last checkpoint or, without one, checks the recipe."""
        recipe = self.recipe
        for module in recipe.modules().values():
            module.to(self.device)
        with self.processes.main_first():
            recipe.encoder.prepare(recipe.batches.rows, self.out / "cache", self.device)
        compile_transformers(recipe, self.device)
        if recipe.label_texts is not None:
            self.model()  # binds the label texts to the head
        self.checkpoints = Checkpoints(recipe, self.scaler, self.processes.world)
        newest = self.processes.by_main(lambda: checkpoint.newest(self.out / "last"))
        if newest is None:
            preflight(recipe, inference_head(recipe), self.device)
        else:
            self.position, self.resumed = self.checkpoints.load(newest), True
        step, main = self.position.step, self.processes.world.is_main
        self.recipe = with_scaled_rates(recipe, self.out, lr_scale, step, write=main)
        if main:
            self.said = note_threads(self.out, self.device, self.resumed)
            truncate_log(self.out / "log.jsonl", step)
        self.begun, self.saved = time.monotonic() - self.position.seconds, time.monotonic()
        trim_memory()

    def fit(self, checkpoint_seconds: float, checkpoint_steps: int | None, validate_epochs: float) -> None:
        """Trains to the end, or until the validations no longer improve."""
        recipe, position, steps = self.recipe, self.position, self.recipe.batches.steps
        every = max(1, round(validate_epochs * recipe.batches.per_epoch))
        interrupts, self.started, prepared = self.processes.interrupts(), position.step, self.moment("prepared")

        def between(position: Position) -> bool:
            last, late = position.step == steps, time.monotonic() - self.saved > checkpoint_seconds
            stop, asked, late = self.processes.agreed(self.log.ended, interrupts.asked is not None, late)
            if position.step == self.started + 1:
                for facts in (prepared, self.moment("first step")):
                    self.log.line(position.step - 1, **facts)
            due = position.step % every == 0 or last or (stop and position.best_step == 0)
            if len(recipe.validation) and due:
                stop = self.validate() or stop
            position.seconds = time.monotonic() - self.begun
            by_steps = checkpoint_steps and position.step % checkpoint_steps == 0
            if asked:
                self.checkpoint()
                self.checkpoints.wait()
                self.log.say(interrupts.said(position.step, steps))
                interrupts.end()
            if not last and not stop and (by_steps or late):
                self.checkpoint()
            return stop

        where = {"step": position.step, "steps": steps, "per_epoch": recipe.batches.per_epoch}
        path = self.processes.log_path(self.out / "log.jsonl")
        self.log = Log(path, self.device, **where, quiet=self.quiet, callback=self.callback)
        with self.log as log:
            if self.resumed:
                log.say(f"resuming at step {position.step:,} of {steps:,}")
            # The notes need tokenized texts, so they are left out where they are not shown or were shown before.
            for note in (*self.said, *(() if self.quiet or self.resumed else text_notes(recipe))):
                log.say(note)
            if position.step == steps or self._stopped():  # interrupted in the second stage
                return
            with interrupts.waiting(), naming_checkpoint(checkpoint.newest, self.out / "last"):
                fit(recipe, position, device=self.device, scaler=self.scaler, log=log, between=between)
                check_weights(position.step - 1, recipe.modules())
                self.checkpoints.wait()
            log.line(position.step - 1, **self.moment("trained"), done=True)
            self.fitted = True

    def model(self) -> NeuralClassifier:
        """The model with the current weights."""
        return self.trained_on.attach(model_of(self.recipe), self.recipe.data.metadata)

    def validate(self) -> bool:
        """Evaluates the held-out texts; saves the model if it is the best so far; True if training should stop."""
        recipe, position = self.recipe, self.position
        check_weights(position.step - 1, recipe.modules())  # before they are evaluated and possibly saved
        metric = recipe.selection_metric
        averaging, parts = recipe.averaging, (recipe.encoder, recipe.head)
        with contextlib.nullcontext() if averaging is None else averaging.applied(*parts):
            model = self.model().settle()
            found = validated(model, recipe)
            reached = found[metric]
            if reached > position.best:
                position.best, position.best_step, position.rounds_without_gain = reached, position.step, 0
                model.save(self.trained)
            else:
                position.rounds_without_gain += 1
        self.log.line(position.step - 1, validation={k: round(v, 3) for k, v in found.items()})
        self.log.say(f"step {position.step:,}: validation P@1 {found['P@1']:.2f}  {metric} {reached:.2f}")
        return self._stopped()

    def checkpoint(self) -> None:
        """Writes a checkpoint; raises Diverged if the weights cannot be resumed from."""
        check_weights(self.position.step - 1, self.recipe.modules())
        self.checkpoints.save(self.out / "last", self.position)
        self.saved = time.monotonic()

    @phase("saving the model")
    def finish(self) -> Classifier:
        """Saves the model, or loads the best one, and finishes the run folder; returns the saved model."""
        recipe, position = self.recipe, self.position
        if self.fitted and recipe.second_stage is not None:
            self.checkpoint()  # so that the second stage can be repeated
        self.processes.wait()  # for the model that rank 0 writes
        if len(recipe.validation):
            model = self.model().restore(self.trained)
        else:
            if recipe.averaging is not None:
                recipe.averaging.apply(recipe.encoder, recipe.head)
            model = self.model().eval().settle()
            model.save(self.trained)
        classifier, place, rows = cast("Classifier", model), self.out / "model", recipe.validation
        if recipe.second_stage is not None:
            classifier = self.trained_on.attach(recipe.second_stage(model, self.log.say), recipe.data.metadata)
            classifier.save(place)
        calibrate_saved(classifier, place, recipe.data, rows, self.log.say, write=self.processes.world.is_main)
        facts = {"seconds": time.monotonic() - self.begun, **self.processes.facts(position.step - self.started)}
        facts |= {"steps": position.step, **finished(self.planned, self.device), **sizes(recipe)}
        self.processes.by_main(lambda: finish(self.out, facts, position.best_validation(recipe)))
        return classifier

    def _stopped(self) -> bool:
        return 0 < self.recipe.patience <= self.position.rounds_without_gain
