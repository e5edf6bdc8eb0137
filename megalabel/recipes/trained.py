"""Loads a finished run on which another recipe builds: its model, and the texts it was trained on and held out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from megalabel.data.row_weights import with_weight
from megalabel.errors import DataError, SettingError
from megalabel.models.base import load
from megalabel.models.neural import NeuralClassifier
from megalabel.training.run_folder import finished_run, held_out_rows
from megalabel.training.trust import trusted

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus


def trained_run(run: str, corpus: Corpus) -> tuple[NeuralClassifier, np.ndarray, np.ndarray]:
    """The model of a finished run on this corpus, the texts it was trained on, and those it held out.

    Raises:
        SettingError: there is no finished run, or its recipe has no encoder.
        DataError: the run was trained on another corpus.
    """
    facts = finished_run(Path(run))
    theirs = facts["data"]
    if theirs.get("fingerprint") != corpus.fingerprint():
        raise DataError(
            f"the run in {run} was trained on {theirs.get('name')!r} ({theirs.get('texts')} texts, "
            f"{theirs.get('labels')} labels), not on this {corpus.name!r}",
            wanted="the corpus of the run",
            next_step="use that data set, or train a run on this one",
            where="run",
        )
    model = load(run, trust=trusted())
    if not isinstance(model, NeuralClassifier):
        raise SettingError(
            f"a run of the recipe {facts['recipe']!r}, which has no single encoder",
            wanted="a run of a recipe with an encoder (renee, cascadexml, spartex) that is not a hybrid",
            next_step="use such a run, or merge this one with others with `megalabel ensemble`",
            where="run",
        )
    return model, *learned_rows(run, corpus)


def learned_rows(run: str, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """The training texts that a run learned, and those that it held out; ascending."""
    held = held_out_rows(run)
    return with_weight(corpus.train, np.setdiff1d(np.arange(len(corpus.train)), held)), held
