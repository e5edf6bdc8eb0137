"""Calibrates the model of a run on the training texts that it held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.corpus import Corpus
from megalabel.data.filters import filter_of
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.models.base import Classifier
from megalabel.models.calibrated import FEWEST
from megalabel.models.completion import DEPTH, odds_of
from megalabel.models.facts import add_calibration
from megalabel.models.given_strength import MOST, chosen_strength
from megalabel.phases import phase


@phase("calibrating")
def calibrate_on_rows(model: Classifier, corpus: Corpus, rows: np.ndarray, say: Callable[[str], Any]) -> None:
    """Calibrates a model, in place, on training texts that it has not learned, and says so, or why not.

    Args:
        model: the model.
        corpus: its data set.
        rows: (n,) int64, rows of the training split.
        say: a function that takes a line of text.
    """
    side, rows = corpus.train, np.sort(np.asarray(rows, np.int64))
    if len(rows):
        inputs = model_inputs(side, corpus, model.n_features)[rows]
        options: dict[str, Any] = {"exclude": filter_of(side, rows), "held_out": True, "progress": "calibrating"}
        if model.calibrate(inputs, side.labels[rows], **options):
            say(f"calibrated on {len(rows):,} held-out texts")
            return
    why = "no texts were held out"
    if len(rows):
        why = f"of {len(rows):,} texts that were held out, fewer than {FEWEST} have labels, or none is found"
    say(f"probabilities are not calibrated: {why}; `megalabel calibrate` does it later")


@phase("weighing given labels")
def learn_strength(model: Classifier, corpus: Corpus, rows: np.ndarray) -> None:
    """Chooses, in place, how much given labels count, on training texts that the model has not learned.

    Args:
        model: a model that knows which labels occur together; others stay as they are.
        corpus: its data set.
        rows: (n,) int64, rows of the training split.
    """
    if model.trained_on is None or model.trained_on.pairs is None:
        return
    side, rows = corpus.train, np.sort(np.asarray(rows, np.int64))
    asked = rows[np.diff(side.labels.indptr)[rows] > 1]
    asked = np.sort(np.random.default_rng(0).permutation(asked)[:MOST])
    if len(asked):
        inputs = model_inputs(side, corpus, model.n_features)[asked]
        ids, scores = model.topk(inputs, model.reach(DEPTH), exclude=filter_of(side, asked)).numpy()
        odds = odds_of(model, np.where(ids < 0, 0, scores))
        others = side.labels[np.setdiff1d(np.arange(len(side)), rows)]
        strength = chosen_strength(ids, odds, side.labels[asked].tocsr(), others.tocsr())
        model.trained_on = replace(model.trained_on, strength=strength)


def calibrate_saved(
    model: Classifier,
    folder: Path,
    corpus: Corpus,
    rows: np.ndarray | Sequence[int],
    say: Callable[[str], Any],
    *,
    write: bool = True,
) -> None:
    """Calibrates a model that was saved in a folder, unless it is calibrated; there too with `write`.

    All processes of a job call it, since they rank together, and one of them writes.
    """
    if model.calibration is None:
        calibrate_on_rows(model, corpus, np.asarray(rows, np.int64), say)
        if write and model.calibration is not None:
            add_calibration(folder, model.calibration)  # without writing the weights again
