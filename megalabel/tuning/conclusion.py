"""The end of a search: the chosen candidate, trained on all texts where that is quick, becomes the run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from megalabel.errors import SettingError
from megalabel.models.base import Classifier, load
from megalabel.models.hybrid import HybridClassifier
from megalabel.recipes import get
from megalabel.recipes.config import as_config
from megalabel.recipes.hybrid import hybrid, refit
from megalabel.storage.files import write_json, write_text
from megalabel.training.recipe import DirectRecipe, RecipeFunction
from megalabel.training.run import train
from megalabel.training.run_lock import NAME as LOCK
from megalabel.training.trust import trusted
from megalabel.tuning.folder import SEARCH
from megalabel.tuning.history import Result
from megalabel.tuning.strategies import ROOM
from megalabel.tuning.table import table
from megalabel.tuning.trials import FOLDER, Trials

CHOSEN = "chosen.toml"  # the values that were chosen, for `megalabel train --config`
FINAL = "final"  # the run folder of the chosen candidate on all texts
REFIT_COST = 0.9  # the time in which a hybrid fits its trees again, over that of the whole hybrid


def last_training(recipe: RecipeFunction[Any, Any]) -> float:
    """The time of a last training on all texts, over that of a trial; 0 where there is none."""
    if recipe is hybrid:
        return REFIT_COST
    declared = recipe.options.declared
    # A direct solver that does not itself use the texts that it holds out.
    return 1.0 if "epochs" not in declared and "validation_fraction" in declared else 0.0


def concluded(trials: Trials, facts: Mapping[str, Any]) -> Classifier:
    """The chosen model, in the run folder that the folder of the search becomes."""
    setting = trials.setting
    chosen = _chosen(trials)
    _publish(trials, chosen, facts)
    setting.say(table(trials.history.results, setting.metric, setting.limits, chosen))
    setting.say(f"chosen: trial {chosen.number}, {chosen.recipe}; its values are in {setting.out / CHOSEN}")
    return load(setting.out, device=setting.device, trust=trusted())


def _chosen(trials: Trials) -> Result:
    """The best result within the limits; SettingError if there is none."""
    if trials.best is not None:
        return trials.best
    results = trials.history.results
    limits = trials.setting.limits
    why = [limits.exceeded(r) if r.finished else r.status for r in results]
    raise SettingError(
        f"none of {len(results)} trials led to a model within the limits ({'; '.join(dict.fromkeys(why))})",
        wanted="at least one",
        next_step="allow more minutes, or a larger or slower model",
    )


def _publish(trials: Trials, chosen: Result, facts: Mapping[str, Any]) -> None:
    """Makes the folder of the search the run folder of the chosen trial, trained on all texts if time is left."""
    out, setting = trials.setting.out, trials.setting
    recipe = get(chosen.recipe, trust=trusted())
    source = trials.folder(chosen)
    options = trials.options(recipe, chosen.decided, chosen.epochs)
    cost = last_training(recipe)
    if cost and trials.history.remaining > ROOM * cost * chosen.seconds and _can_be_trained(recipe, source):
        setting.say("training the chosen candidate on all texts")
        made, options = _on_all_texts(trials, recipe, options, source)
        source = out / FOLDER / FINAL
        train(made, source, device=setting.device, quiet=True)
    reached = ", ".join(f"{name} {value:.2f}" for name, value in chosen.metrics.items())
    head = f"# {chosen.recipe}, chosen by megalabel tune on held-out texts: {reached}\n"
    write_text(out / CHOSEN, head + as_config(options) + "\n")
    for child in sorted(source.iterdir(), key=lambda p: p.name == "recipe.json") if source.is_dir() else ():
        if child.name != LOCK:
            _remove(out / child.name)  # what an interrupted search has moved there before
            shutil.move(child, out / child.name)
    needed = {Path(str(chosen.values[name])).name for name in ("run", "encoder") if name in chosen.values}
    for path in (out / FOLDER).iterdir() if (out / FOLDER).is_dir() else ():
        if path.name not in needed:
            shutil.rmtree(path, ignore_errors=True)
    write_json(out / SEARCH, {**facts, "chosen": chosen.number})


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _can_be_trained(recipe: RecipeFunction[Any, Any], folder: Path) -> bool:
    """Whether what the last training needs is there: the model of a hybrid, unless it has become the run."""
    return recipe is not hybrid or folder.is_dir()


def _on_all_texts(
    trials: Trials, recipe: RecipeFunction[Any, Any], options: Any, folder: Path
) -> tuple[DirectRecipe, Any]:
    """The last training, and its options.

    folder: the run folder of the chosen trial.
    """
    corpus, device = trials.setting.corpus, trials.setting.device
    if recipe is hybrid:
        model = cast(HybridClassifier, load(folder, device=device, trust=trusted()))
        made = refit(corpus, options, model)
        return made, recipe.options.from_values({**options.values(), "refit": True})
    options = recipe.options.from_values({**options.values(), "validation_fraction": 0.0})
    return recipe(corpus, options, trust=trusted()), options
