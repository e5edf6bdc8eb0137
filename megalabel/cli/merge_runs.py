"""Merging several runs into one, weighted on the texts that all of them held out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megalabel.cli.arguments import data_of
from megalabel.data.corpus import Corpus
from megalabel.data.filters import filter_of
from megalabel.errors import DataError, SettingError
from megalabel.inference.evaluate import check_labels
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.inputs.batches import hold_out
from megalabel.metrics.ranking import measure
from megalabel.models.base import load
from megalabel.models.ensemble import Ensemble
from megalabel.models.mixture import DEPTH, SELECT, Mixture
from megalabel.recipes.hybrid import Hybrid
from megalabel.training.run_folder import check_out, create_folder, finish, finished_run
from megalabel.training.trust import trusted

WEIGHTS = Hybrid.declared["weights"]
Open = Callable[[str], Corpus]
Say = Callable[[str], Any]


@dataclass(frozen=True)
class Common:
    """The data set that several runs share, and which of its training texts none of them learned from.

    data: as the runs' recipe.json has it; empty if they differ or do not say.
    validation, seed: of `hold_out`; 0 where `why` says why there are no such texts.
    """

    data: dict[str, Any]
    validation: float = 0.0
    seed: int = 0
    why: str = ""


def ensemble_runs(
    runs: Sequence[str],
    out: Path,
    data: str | None,
    weights: str | None,
    device: str | None,
    open_data: Open,
    say: Say,
) -> None:
    """Loads the runs, fits what their common held-out texts allow, and writes the run folder `out`."""
    check_out(out)  # before the work, not after it
    begun = time.monotonic()
    chosen = () if weights is None else WEIGHTS.check(weights)
    if len(runs) < 2 or (chosen and len(chosen) != len(runs)):
        raise SettingError(
            f"{len(runs)} run{'s' * (len(runs) > 1)}" + (f" and {len(chosen)} weights" if chosen else ""),
            wanted="two runs or more, and as many weights or none",
            next_step="name the runs one after the other, weights as 1,2 in their order",
        )
    mixture = Mixture.of(chosen or [1.0] * len(runs))
    common = in_common(runs)
    corpus, why = _corpus(runs, common, data, open_data)
    model = Ensemble([load(run, device=device, trust=trusted()) for run in runs], mixture)
    reached: list[float] = []
    if corpus is not None:
        reached, why = _fit(model, corpus, common, chosen)
    if reached:
        done = "calibrated" if chosen else "calibrated and weighed"
        say(f"{done} on the texts that all held out (validation {common.validation:g}, seed {common.seed})")
    else:
        say(f"not fitted: {why}; {'the weights given' if chosen else 'equal weights'}, scores as they are")
    shown = [f"{weight:.2f}  {run}" for run, weight in zip(runs, model.mixture.weights, strict=True)]
    if reached:
        shown = [
            f"{line}  {SELECT} {value:.2f}" for line, value in zip([*shown, "together"], reached, strict=True)
        ]
    for line in shown:
        say(line)
    held = {
        "validation_fraction": common.validation,
        "seed": common.seed,
    }  # as every run says it, for the next ensemble
    create_folder(out, "ensemble", {"runs": list(runs), "weights": chosen, **held}, common.data)
    model.save(out / "model")
    finish(out, {"seconds": time.monotonic() - begun})
    say(f"the model is in {out}; next: megalabel evaluate {out}")


def in_common(runs: Sequence[str]) -> Common:
    """What finished runs have in common; SettingError for an unfinished one."""
    folders = [_run_folder(run) for run in runs]
    known = [(folder / "recipe.json").exists() for folder in folders]
    told = [finished_run(folder) for folder, there in zip(folders, known, strict=True) if there]
    if not all(known):
        return Common({}, why=f"{runs[known.index(False)]} is no run folder, which would say what was held out")
    first = told[0]["data"]
    for run, facts in zip(runs, told, strict=True):
        if facts["data"].get("fingerprint") != first.get("fingerprint"):
            names = f"{first.get('name')!r} and {facts['data'].get('name')!r}"
            return Common({}, why=f"{runs[0]} and {run} were trained on different data sets, {names}")
    held: list[tuple[float, int]] = []
    for run, facts in zip(runs, told, strict=True):
        texts = _held_out(facts)
        if texts is None:
            return Common(first, why=f"the run that {run} was made beside is not there to say what it held out")
        if texts[0] == 0:
            return Common(first, why=f"{run} held out no texts (train with --validation-fraction 0.05)")
        held.append(texts)
        if texts != held[0]:
            shares = " and ".join(f"{share:g} (seed {seed})" for share, seed in (held[0], texts))
            return Common(first, why=f"{runs[0]} and {run} held out other texts, shares of {shares}")
    return Common(first, *held[0])


def _run_folder(run: str) -> Path:
    """The folder itself or, of a run's `model/`, the run's."""
    folder = Path(run)
    inside = (folder / "manifest.json").exists() and (folder.parent / "recipe.json").exists()
    return folder.parent if inside else folder


def _held_out(facts: dict[str, Any]) -> tuple[float, int] | None:
    """Share and seed of the texts that a run held out; None if it was those of a run that is gone."""
    if facts["recipe"] == "hybrid":
        beside = Path(facts["arguments"]["run"])
        try:
            first = finished_run(beside)
        except SettingError:
            return None
        if first["data"].get("fingerprint") != facts["data"].get("fingerprint"):
            return None
        facts = first
    arguments = facts["arguments"]
    return arguments.get("validation_fraction", 0.0), arguments.get("seed", 0)


def _corpus(runs: Sequence[str], common: Common, data: str | None, open_data: Open) -> tuple[Corpus | None, str]:
    """The data set to fit on, or why there is none; DataError if the one that was named is another."""
    if common.why and (data is None or not common.data):
        return None, common.why
    try:
        corpus = open_data(data or data_of(str(_run_folder(runs[0]))))
    except SettingError as error:
        if data is not None:
            raise
        return None, error.detail.removesuffix(".")
    if corpus.fingerprint() == common.data.get("fingerprint"):
        return (None, common.why) if common.why else (corpus, "")
    if data is None:
        return None, f"{corpus.path} is not what it was when the runs were trained: give that data set by --data"
    raise DataError(
        f"{corpus.name!r} is not the data set that the runs were trained on",
        wanted=f"{common.data.get('name')!r} as it was then",
        next_step="correct --data, or leave it out",
        where=corpus.path,
    )


def _fit(model: Ensemble, data: Corpus, common: Common, weights: Sequence[float]) -> tuple[list[float], str]:
    """Fits the model's mixture; returns nDCG@5 of each part and of all on the held-out texts, or why not."""
    check_labels(model, data)
    held = hold_out(len(data.train), common.validation, common.seed)[1]
    labels = data.train.labels[held]
    if labels.nnz == 0:
        return [], f"none of the {len(held)} texts that were held out has a label"
    score_types = [part.score_type for part in model.parts]
    inputs = model_inputs(data.train, data, model.n_features)[held]
    found = model.rankings(inputs, DEPTH, filter_of(data.train, held))
    model.mixture = Mixture.fit(found, score_types, labels, weights)
    tops = [*found, model.mixture.merge(found, score_types, DEPTH)]
    return [measure(top, labels, k=(5,))[SELECT] for top in tops], ""
