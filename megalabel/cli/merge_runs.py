"""Merging several runs into one, weighted on the texts that all of them held out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.data.filters import filter_of
from megalabel.errors import DataError, SettingError
from megalabel.inference.evaluate import check_labels
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.metrics.ranking import measure
from megalabel.models.base import Classifier, load
from megalabel.models.ensemble import Ensemble
from megalabel.models.mixture import DEPTH, SELECT, Mixture
from megalabel.recipes.hybrid import Hybrid
from megalabel.training.run_folder import check_out, create_folder, finish, finished_run, held_out_rows
from megalabel.training.run_lock import writing
from megalabel.training.trust import trusted

WEIGHTS = Hybrid.declared["weights"]
Open = Callable[[str, str | None], Corpus]  # of the data set that is named or, without a name, of a run's
Say = Callable[[str], Any]


@dataclass(frozen=True)
class Common:
    """The data set that several runs share, and which of its training texts none of them learned from.

    data: as the runs' recipe.json has it; empty if they differ or do not say.
    held: rows of the training side that every run held out, (n,) int64; empty where `why` says why.
    """

    data: dict[str, Any]
    held: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
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
    twice = [run for i, run in enumerate(runs) if Path(run).resolve() in [Path(r).resolve() for r in runs[:i]]]
    if twice:
        say(f"{twice[0]} is named twice and counts twice; --weights gives a run more weight")
    mixture = Mixture.from_weights(chosen or [1.0] * len(runs))
    common = in_common(runs)
    corpus, why = _corpus(runs, common, data, open_data)
    model = Ensemble(_loaded(runs, device), mixture)
    reached: list[float] = []
    if corpus is not None:
        reached, why = _fit(model, corpus, common, chosen)
    if reached:
        done = "calibrated" if chosen else "calibrated and weighed"
        say(f"{done} on the {len(common.held):,} texts that all runs held out")
    else:
        say(f"not fitted: {why}; {'the weights given' if chosen else 'equal weights'}, scores as they are")
    shown = [f"{weight:.2f}  {run}" for run, weight in zip(runs, model.mixture.weights, strict=True)]
    if reached:
        shown = [
            f"{line}  {SELECT} {value:.2f}" for line, value in zip([*shown, "together"], reached, strict=True)
        ]
    for line in shown:
        say(line)
    with writing(out):
        create_folder(out, "ensemble", {"runs": list(runs), "weights": chosen}, common.data, common.held)
        model.save(out / "model")
        finish(out, {"seconds": time.monotonic() - begun})
    say(f"the model is in {out}; next: megalabel evaluate {out}")


def in_common(runs: Sequence[str]) -> Common:
    """What finished runs have in common; SettingError for an unfinished one."""
    folders = [_run_folder(run) for run in runs]
    known = [(folder / "recipe.json").exists() for folder in folders]
    recorded = [finished_run(folder) for folder, there in zip(folders, known, strict=True) if there]
    if not all(known):
        return Common(
            {}, why=f"{runs[known.index(False)]} is not a run folder, which records the texts that were held out"
        )
    first = recorded[0]["data"]
    for run, facts in zip(runs, recorded, strict=True):
        if facts["data"].get("fingerprint") != first.get("fingerprint"):
            names = f"{first.get('name')!r} and {facts['data'].get('name')!r}"
            return Common({}, why=f"{runs[0]} and {run} were trained on different data sets, {names}")
    held: np.ndarray | None = None
    for run, folder in zip(runs, folders, strict=True):
        try:
            rows = held_out_rows(folder)
        except SettingError as error:  # a run of 0.1.0 whose base is gone
            return Common(first, why=f"it is not known what {run} held out ({error.detail.removesuffix('.')})")
        if len(rows) == 0:
            return Common(first, why=f"{run} held out no texts (train with --validation-fraction 0.05)")
        held = rows if held is None else np.intersect1d(held, rows)
    assert held is not None
    if len(held) == 0:
        return Common(first, why=f"no text was held out by all of {', '.join(runs)}")
    return Common(first, held)


def _loaded(runs: Sequence[str], device: str | None) -> list[Classifier]:
    """The models of the runs; SettingError that names two whose labels differ."""
    models = [load(run, device=device, trust=trusted()) for run in runs]
    first = models[0].label_texts
    for run, model in zip(runs, models, strict=True):
        if model.label_texts is not first and model.label_texts != first:
            sizes = f"{len(first):,} and {len(model.label_texts):,} labels"
            raise SettingError(
                f"{runs[0]} and {run} predict different labels ({sizes})",
                wanted="runs over the same labels in the same order",
                next_step="merge runs that were trained on the same data set",
            )
    return models


def _run_folder(run: str) -> Path:
    """The folder itself or, of a run's `model/`, the run's."""
    folder = Path(run)
    inside = (folder / "manifest.json").exists() and (folder.parent / "recipe.json").exists()
    return folder.parent if inside else folder


def _corpus(runs: Sequence[str], common: Common, data: str | None, open_data: Open) -> tuple[Corpus | None, str]:
    """The data set to fit on, or why there is none; DataError if the one that was named is another."""
    if common.why and (data is None or not common.data):
        return None, common.why
    try:
        corpus = open_data(str(_run_folder(runs[0])), data)
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
    held = common.held
    labels = data.train.labels[held]
    if labels.nnz == 0:
        return [], f"none of the {len(held)} texts that were held out has a label"
    score_types = [part.score_type for part in model.parts]
    inputs = model_inputs(data.train, data, model.n_features)[held]
    found = model.rankings(inputs, DEPTH, filter_of(data.train, held))
    model.mixture = Mixture.fit(found, score_types, labels, weights)
    model.calibrate(inputs, labels, exclude=filter_of(data.train, held), held_out=True)
    tops = [*found, model.mixture.merge(found, score_types, DEPTH)]
    return [measure(top, labels, k=(5,))[SELECT] for top in tops], ""
