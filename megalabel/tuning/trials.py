"""Runs trials: trains a candidate in a run folder of its own and measures it on the held-out texts."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from megalabel.data.filters import filter_of
from megalabel.errors import MegalabelError
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.inputs.batches import hold_out
from megalabel.inputs.sparse_text import SparseText
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.models.base import Classifier
from megalabel.recipes import get
from megalabel.storage.files import folder_bytes
from megalabel.training import selection
from megalabel.training.recipe import DirectRecipe, Recipe, RecipeFunction
from megalabel.training.run import train
from megalabel.training.run_folder import read_recipe
from megalabel.training.trust import trusted
from megalabel.tuning.candidates import Candidate
from megalabel.tuning.history import NEEDED, TOO_SLOW, History, Result
from megalabel.tuning.limits import Limits
from megalabel.tuning.watch import SURE, OutOfTime, watch

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

FOLDER = "trials"
TIMED = 20  # single texts whose prediction is timed
Say = Callable[[str], Any]


@dataclass(frozen=True)
class Setting:
    """What all trials of a search share.

    corpus: the data set.
    out: the folder of the search.
    held_out: the fraction of the training texts that is held out; the same texts in every trial.
    metric: by which trials are compared.
    limits: what the chosen model may take.
    seed: of every trial.
    device: where they are trained.
    say: takes lines of progress.
    """

    corpus: Corpus
    out: Path
    held_out: float
    metric: str
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    device: str | torch.device | None = None
    say: Say = print


class Trials:
    """Runs the trials of a search, each at most once, also over interruptions.

    Args:
        setting: what they share.
        history: their results.

    Attributes:
        best: the best result within the limits so far; None before the first.
        protected: results whose run folders are not removed.
    """

    def __init__(self, setting: Setting, history: History) -> None:
        self.setting, self.history = setting, history
        self.best: Result | None = None
        self.protected: list[Result] = []

    def folder(self, result: Result) -> Path:
        """The run folder of a trial."""
        return self.setting.out / FOLDER / f"{result.number:04d}"

    @property
    def n_held(self) -> int:
        """The number of texts that are held out."""
        return len(hold_out(len(self.setting.corpus.train), self.setting.held_out, self.setting.seed)[1])

    def run(self, candidate: Candidate, *, epochs: int | None = None, limit: float | None = None) -> Result:
        """Trains and measures a candidate, or returns the recorded result.

        Args:
            candidate: the recipe and values.
            epochs: for a recipe that trains in steps: the number of epochs in place of the candidate's.
            limit: seconds that it may take; by default, all that are left. A training in steps ends then with the
                best model so far, or is stopped early if its speed shows that it would take much longer.
        """
        known = self.history.recorded(candidate, epochs)
        if known is not None:
            return self._noted(known)
        number = self.history.next_number()
        limit = min(self.history.remaining, limit if limit is not None else float("inf"))
        empty = Result(number, candidate.recipe, dict(candidate.values), epochs, "", {}, 0.0)
        deadline = self.history.elapsed + limit
        try:
            result = self._measured(empty, self._train(candidate, epochs, self.folder(empty), deadline))
        except OutOfTime as error:
            facts = {NEEDED: error.needed} if error.needed else {}
            result = replace(empty, status=f"{TOO_SLOW}: {error}", facts=facts)
        except (MegalabelError, MemoryError) as error:
            result = replace(empty, status=f"failed: {' '.join(str(error).split())}")
        if not result.finished:
            shutil.rmtree(self.folder(empty), ignore_errors=True)
        result = self.history.add(result)
        self.setting.say(described(result, self.setting.metric))
        return self._noted(result)

    def keep(self, results: Iterable[Result | None]) -> None:
        """Removes the run folders of all trials but these and `protected`."""
        if not self.history.running:  # recorded trials that are still to come need theirs
            return
        kept = {self.folder(result) for result in (*results, *self.protected, self.best) if result is not None}
        folder = self.setting.out / FOLDER
        for path in folder.iterdir() if folder.is_dir() else ():
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _noted(self, result: Result) -> Result:
        metric, best = self.setting.metric, self.best
        if self.setting.limits.allow(result) and (best is None or result.score(metric) > best.score(metric)):
            self.best = result
        return result

    def options(self, recipe: RecipeFunction[Any, Any], candidate: Candidate, epochs: int | None) -> Any:
        """The options of a candidate with what all trials share."""
        setting = self.setting
        shared: dict[str, Any] = {"validation_fraction": setting.held_out, "seed": setting.seed, "epochs": epochs}
        shared |= {"selection_metric": setting.metric, "log_every": SURE}
        values = {name: v for name, v in shared.items() if name in recipe.options.declared and v is not None}
        return recipe.options.from_values({**candidate.values, **values}, f"the recipe {recipe.address}")

    def _train(
        self, candidate: Candidate, epochs: int | None, folder: Path, deadline: float
    ) -> tuple[Classifier, np.ndarray, dict[str, float]]:
        """The model of a candidate, the rows that were held out, and facts about it."""
        setting, made_at = self.setting, self.history.elapsed
        recipe = get(candidate.recipe, trust=trusted())
        made = recipe(setting.corpus, self.options(recipe, candidate, epochs), trust=trusted())
        callback = None
        if isinstance(made, Recipe):
            callback = watch(self.history, made.batches.steps, deadline, made_at)
        else:
            made = self._watched(made, deadline)
        model = train(made, folder, device=setting.device, quiet=True, callback=callback)
        facts = {} if isinstance(made, DirectRecipe) else {"dim": float(made.encoder.dim)}
        solved = read_recipe(folder)["finished"]["seconds"]
        return model, np.asarray(made.validation), {**facts, "seconds": float(solved)}

    def _watched(self, recipe: DirectRecipe, deadline: float) -> DirectRecipe:
        """The recipe whose solver raises OutOfTime when it reports progress after the deadline."""
        history, begun = self.history, self.history.elapsed

        def watch(line: str) -> None:
            if history.elapsed > deadline:
                raise OutOfTime(f"not done after {history.elapsed - begun:,.0f} s")

        return replace(recipe, solve=lambda say: recipe.solve(watch))

    def _measured(self, empty: Result, trained: tuple[Classifier, np.ndarray, dict[str, float]]) -> Result:
        model, held, facts = trained
        side = self.setting.corpus.train
        texts, truth = model_inputs(side, self.setting.corpus, model.n_features)[held], side.labels[held]
        depths = selection.depths(self.setting.metric)
        top = model.topk(texts, max(depths), exclude=filter_of(side, held))
        counts = np.asarray((side.labels > 0).sum(axis=0)).ravel()
        weights = inverse_propensity(counts, len(side), *self.setting.corpus.propensity_constants)
        metrics = measure(top, truth, k=depths, inverse_propensity=weights)
        size = folder_bytes(self.folder(empty) / "model") / 1e6
        return replace(
            empty,
            status="finished",
            metrics={name: round(value, 4) for name, value in metrics.items()},
            size_mb=round(size, 2),
            latency_ms=round(latency(model, texts), 3),
            facts=facts | _text_features(model, texts),
            chosen=dict(model.chosen or {}),
        )


def _text_features(model: Classifier, texts: Any) -> dict[str, float]:
    """The mean number of sparse features of a text, for a model that has such."""
    text = getattr(model, "text", None)
    if not isinstance(text, SparseText) or len(texts) == 0:
        return {}
    return {"features": text.transform(texts[:1000]).nnz / min(len(texts), 1000)}


def described(result: Result, metric: str) -> str:
    """A result as one line."""
    epochs = "" if result.epochs is None else f", {result.epochs} epoch{'s' * (result.epochs > 1)}"
    reached = f"{metric} {result.metrics[metric]:.2f}" if result.finished else result.status
    return f"trial {result.number}: {result.recipe}{epochs}: {reached} ({result.seconds:,.1f} s)"


def latency(model: Classifier, texts: Any) -> float:
    """The median time, in ms, that a model takes for a single text."""
    times = []
    n = len(texts) if model.n_features is None else texts.shape[0]
    for i in range(min(n, TIMED + 3)):
        begun = time.perf_counter()
        model.topk(texts[i : i + 1], 5)
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times[3:] or times or [0.0])
