"""`megalabel ensemble`: several runs as one, weighed on the texts that all of them held out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.bags import given
from megalabel.data.batches import hold_out
from megalabel.data.corpus import Corpus
from megalabel.data.filters import filter_of
from megalabel.ensemble import Ensemble
from megalabel.errors import DataError, SettingError
from megalabel.inference.evaluate import check_labels
from megalabel.metrics.ranking import measure
from megalabel.mixture import DEPTH, SELECT, Mixture
from megalabel.ranker import load
from megalabel.recipes.hybrid import held_share
from megalabel.training.folder import check_out, claim_as, finish, finished_run
from megalabel.training.knobs import checked

Say = Callable[[str], Any]


@dataclass(frozen=True)
class Common:
    """What several runs have in common: the data set, and the texts that none of them was trained on.

    data: as their recipe.json has it; empty if they differ. validation, seed: of `hold_out`, 0 if nothing is common.
    why: why nothing can be fitted on such texts; empty if it can.
    """

    data: dict[str, Any] = field(default_factory=dict)
    validation: float = 0.0
    seed: int = 0
    why: str = ""


def ensemble_runs(
    runs: Sequence[str],
    out: Path,
    data: str | None,
    weights: str | None,
    device: str | None,
    open_data: Callable[[str], Corpus],
    say: Say,
) -> None:
    """Loads the runs, fits what can be fitted, and writes the run folder `out`."""
    check_out(out)  # before the work, not after it
    begun = time.monotonic()
    chosen: tuple[float, ...] = () if weights is None else checked("weights", weights, "tuple[float, ...]")
    _check_counts(runs, chosen)
    common = in_common(runs)
    corpus, why = _corpus(common, data, open_data)
    model = Ensemble([load(run, device=device) for run in runs], Mixture.of(chosen or [1.0] * len(runs)))
    reached = [""] * len(runs)
    if corpus is not None:
        reached, why = _fit(model, corpus, common, chosen)
    if why:
        say(f"not fitted: {why}; {'the weights given' if chosen else 'equal weights'}, scores as they are")
    else:
        say(
            f"{'calibrated' if chosen else 'calibrated and weighed'} on the texts of {common.data['name']} that all "
            f"runs held out (validation {common.validation:g}, seed {common.seed})"
        )
    for run, weight, then in zip([*runs, "together"], [*model.mixture.weights, 1.0], [*reached, ""], strict=False):
        say(f"{weight:.2f}  {run}{then}")
    arguments = {"runs": list(runs), "weights": chosen, "validation": common.validation, "seed": common.seed}
    claim_as(out, "ensemble", arguments, common.data)
    model.save(out / "model")
    finish(out, None, {"seconds": time.monotonic() - begun})
    say(f"the model is in {out}; next: megalabel evaluate {out} {_path_of(common.data) or 'DATA'}")


def in_common(runs: Sequence[str]) -> Common:
    """What finished runs, or models without a run folder, have in common; SettingError for an unfinished run."""
    folders = [_run_folder(Path(run)) for run in runs]
    bare = [run for run, folder in zip(runs, folders, strict=True) if not (folder / "recipe.json").exists()]
    told = [finished_run(folder) for run, folder in zip(runs, folders, strict=True) if run not in bare]
    if bare:
        return Common(why=f"{bare[0]} is a model without its run's recipe.json")
    first = told[0]["data"]
    for run, facts in zip(runs, told, strict=True):
        if facts["data"].get("fingerprint") != first.get("fingerprint"):
            return Common(
                why=f"{runs[0]} was trained on {_named(first)}, {run} on another data set, {_named(facts['data'])}"
            )
    held = [_held_out(facts) for facts in told]
    for run, (share, seed) in zip(runs, held, strict=True):
        if share is None:
            return Common(first, why=f"the run that {run} stands on is gone, and with it what was held out")
        if share == 0:
            return Common(first, why=f"{run} held out no texts (train with --validation 0.05)")
        if (share, seed) != held[0]:
            ours = "{:g} of the texts by seed {}".format(*held[0])
            return Common(first, why=f"{runs[0]} held out {ours}, {run} {share:g} by seed {seed}")
    share, seed = held[0]
    return Common(first, float(share or 0), seed)
