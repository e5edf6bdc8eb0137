"""Training jobs: a recipe on a data set into a run folder, with what was decided before and reached after."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megalabel.cli.arguments import open_data, recorded, use_threads
from megalabel.cli.memory_limit import within_memory
from megalabel.cli.reading import notes
from megalabel.cli.run_settings import RunSettings
from megalabel.cli.streams import to_stderr
from megalabel.data.catalog import propensity_source
from megalabel.device import pick
from megalabel.distributed.world import World, join
from megalabel.errors import SettingError
from megalabel.models.base import Classifier, load
from megalabel.phases import phase, timed
from megalabel.progress import hidden
from megalabel.recipes import get
from megalabel.recipes.presets import Resolved, resolve
from megalabel.recipes.run_encoder import run_sha256
from megalabel.storage import migrate
from megalabel.storage.files import folder_bytes
from megalabel.storage.tables import tables_in
from megalabel.training import run_folder
from megalabel.training.cleanup import remove_run
from megalabel.training.log import read_log
from megalabel.training.processes import Processes
from megalabel.training.recipe import DirectRecipe, RecipeFunction
from megalabel.training.resuming import check_lr_scale
from megalabel.training.run import train as train_recipe
from megalabel.training.run_lock import writing
from megalabel.training.trackers import together, tracker
from megalabel.training.trust import trusted

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

HELD_OUT = 0.05  # of the training texts, for a second recipe, where the first would hold out none


def train(
    recipe: RecipeFunction[Any, Any], corpus: Corpus, out: Path, values: Mapping[str, Any], settings: RunSettings
) -> Classifier:
    """Trains with the preset that fits, or loads the run in `out` if it is this very job and finished.

    Raises:
        SettingError: a bad value, or `out` holds another run and `settings.overwrite` is not set.
    """
    silent = hidden() if settings.quiet else contextlib.nullcontext()
    with join() as world, tables_in(out), (processes := Processes(world)).writing(out), timed(), silent:
        return _train(recipe, corpus, out, values, settings.of_process(world), processes)


def _train(
    recipe: RecipeFunction[Any, Any],
    corpus: Corpus,
    out: Path,
    values: Mapping[str, Any],
    settings: RunSettings,
    processes: Processes,
) -> Classifier:
    use_threads(settings.threads)
    pick(settings.device)  # before the work, not after it
    if not settings.checkpoint_seconds >= 0:
        raise SettingError.range("checkpoint_seconds", settings.checkpoint_seconds, 0)
    check_lr_scale(settings.lr_scale)
    say = (lambda line: None) if settings.quiet else to_stderr
    resolved = resolve(recipe, corpus.name, values)
    resolved.options.check_corpus(corpus)
    processes.same(settings.compared(recipe.address, resolved.options.values(), run_folder.data_facts(corpus)))
    if settings.memory is not None:
        resolved, planned = within_memory(recipe, corpus, resolved, values, settings.memory, settings.device)
        say(planned)
    if settings.overwrite:
        processes.by_main(lambda: remove_run(out))
    digest = run_sha256(getattr(resolved.options, "encoder", None))
    facts = resolved.options.values(), run_folder.data_facts(corpus), digest
    if processes.by_main(lambda: run_folder.same_run(out, recipe.address, *facts)):
        say(f"the run in {out} is finished, with the same settings; --overwrite trains it again")
        return load(out, device=settings.device, trust=trusted())
    say("\n".join([described(recipe, corpus, resolved, values), *notes(corpus.findings)]))
    with phase("building the recipe"):
        made = recipe(corpus, resolved.options, trust=trusted())
    with contextlib.ExitStack() as stack:
        names = settings.track if processes.world.is_main else ()
        trackers = [stack.enter_context(tracker(name)(out, made.arguments, say=to_stderr)) for name in names]
        model = train_recipe(
            made,
            out,
            device=settings.device,
            checkpoint_seconds=settings.checkpoint_seconds,
            lr_scale=None if isinstance(made, DirectRecipe) else settings.lr_scale,
            quiet=settings.quiet,
            callback=together(trackers),
        )
    processes.by_main(lambda: say(summary(out)))
    return model


def train_then(
    recipe: RecipeFunction[Any, Any],
    corpus: Corpus,
    out: Path,
    values: Mapping[str, Any],
    then: str,
    settings: RunSettings,
) -> Classifier:
    """Trains a recipe into `out/base`, and one that builds on it into `out`; either resumes if interrupted."""
    Processes(World.announced()).check_alone(f"--then {then}")
    second = get(then, trust=trusted())
    if "run" not in second.options.declared:
        raise SettingError(
            f"the recipe {then} does not build on a run",
            wanted="a recipe that does, such as hybrid or chunked",
            where="then",
        )
    if "encoder" not in recipe.options.declared and not getattr(second.options, "on_any_run", False):
        raise SettingError(
            f"the recipe {recipe.address} has no encoder, which {then} builds on",
            wanted="a recipe with one, such as renee",
            next_step="leave --then out, or train another recipe first",
            where="then",
        )
    if getattr(resolve(recipe, corpus.name, values).options, "validation_fraction", 1) == 0:
        values = {**values, "validation_fraction": HELD_OUT}
    with writing(out):
        if settings.overwrite:
            remove_run(out)
        run_folder.check_out(out, finished=True)
        settings = settings._replace(overwrite=False)
        train(recipe, corpus, out / run_folder.BASE, values, settings)
        run = {"run": str(out / run_folder.BASE)}
        return train(second, corpus, out, run, settings._replace(track=()))


def repeat(source: Path, out: Path, settings: RunSettings) -> Classifier:
    """Trains the job of another run again: the recipe, all values and the data set of its recipe.json.

    Raises:
        SettingError: no such run, one that no recipe made, a data set that is gone, or a recipe whose source file
            has changed since.
    """
    run = source.parent if source.name in ("recipe.json", "model") else source
    if not (run / "recipe.json").is_file():
        step = "correct the path"
        if source.suffix == ".toml":
            step = f"values of options are read by `megalabel train RECIPE DATA --config {source}`"
        raise SettingError(f"no run in {source}", wanted="a run folder", next_step=step, where="from")
    facts = run_folder.checked_facts(run, run_folder.read_recipe(run))
    if facts["recipe"] == "ensemble":
        raise SettingError(
            f"the run in {run} is an ensemble, which no recipe trains",
            wanted="the run of a recipe",
            next_step="merge its runs again with `megalabel ensemble`",
            where="from",
        )
    recipe = get(str(facts["recipe"]), trust=trusted())
    before, now = facts.get("source_sha256"), recipe.source_sha256()
    if before and before != now:
        raise SettingError(
            f"the source file of the recipe {recipe.address} has changed since {run} was trained "
            f"(SHA-256 {before[:12]} then, {now[:12]} now)",
            wanted="the very recipe of the run",
            next_step="install the version that trained it, or train by name with the values of the run",
            where="from",
        )
    path = facts["data"].get("path")
    if not path:
        raise SettingError(
            f"the run in {run} was trained on data in memory",
            wanted="a run on a data set in a folder",
            next_step="repeat it from Python",
            where="from",
        )
    if not Path(path).exists():
        raise SettingError(
            f"the data set of the run in {run} is no longer in {path}",
            wanted="its data set",
            next_step="put it back there, or train by name: megalabel train RECIPE DATA --out OUT",
            where="from",
        )
    corpus = open_data(path, recorded(facts["data"]))
    arguments = migrate.with_added(recipe.address, facts["arguments"], recipe.options.declared)
    return train(recipe, corpus, out, arguments, settings)


def described(
    recipe: RecipeFunction[Any, Any], corpus: Corpus, resolved: Resolved, values: Mapping[str, Any]
) -> str:
    """What is trained on what, which preset was chosen with which values, and the user's values."""
    size = f"{corpus.name}: {len(corpus.train):,} texts, {corpus.n_labels:,} labels"
    if str(values.get("selection_metric", "")).startswith("PS"):
        size += f"\n{propensity_source(corpus.name, corpus.propensity)}"
    preset = resolved.preset
    source = f"preset for {', '.join(preset.sets)}" if preset else "no preset fits; the defaults of the recipe"
    known = recipe.options.declared
    shown = [
        " ".join(f"{name}={known[name].shown(known[name].check(value))}" for name, value in part.items())
        for part in (resolved.taken, values)
    ]
    taken = f": {shown[0]}" if shown[0] else ""
    return f"{size}\n{recipe.address}, {source}{taken}" + (f"\nyours: {shown[1]}" if values else "")


def summary(out: Path) -> str:
    """What a finished run took and reached, and what to do next."""
    facts = run_folder.finished_run(out)
    done = facts["finished"]
    lines = [f"trained in {done['seconds']:,.1f} s"]
    if done.get("peak_mb"):
        lines[0] += f", peak memory {done['peak_mb']:,.0f} MB"
        if done.get("predicted_peak_mb"):
            lines[0] += f" (predicted {done['predicted_peak_mb']:,.0f} MB)"
    if done.get("peak_device_mb"):
        lines[0] += f", on the GPU {done['peak_device_mb']:,.0f} MB"
    best = best_validation(out, str(facts["arguments"].get("selection_metric")))
    if best:
        lines.append(f"{best}, which was kept")
    elif done.get("steps"):
        lines.append("no texts were held out, so that the last epoch was kept")
    path = facts["data"].get("path")
    has_test = bool(path) and not Path(path).is_file()  # one file holds training texts alone
    data, more = ("", "") if has_test else (" DATA", " --data DATA")
    lines.append(f"the model is in {out} ({folder_bytes(out / 'model') / 1e6:,.1f} MB)")
    return "\n".join([*lines, f"next: megalabel evaluate {out}{data}, or megalabel report {out}{more}"])


def best_validation(out: Path, metric: str) -> str:
    """The best validation in the log of a run, in words; "" where there was none."""
    found = [line for line in read_log(out / "log.jsonl") if metric in (line.get("validation") or {})]
    if not found:
        return ""
    best = max(found, key=lambda line: line["validation"][metric])
    return f"best validation {metric} {best['validation'][metric]:.2f} after epoch {best['epoch']:.1f}"
