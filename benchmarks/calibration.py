"""Calibration of `linear` on real data: errors, precision thresholds, label sets and the tail knob, on test texts.

    python benchmarks/calibration.py DATA [RUN]
    python benchmarks/calibration.py cost DATA
    python benchmarks/calibration.py tail DATA [RUN]

The first trains `linear` with one tree on 95% of the training texts, or takes a finished run that held texts out,
and calibrates it on these. Nothing is fitted on test texts but the thresholds of the splits below:

- "ECE@5": the expected calibration error of the first five labels, before and after;
- "precision 0.5 …": how many of 200 resamples hold it: the threshold is taken from one half of the test texts, and
  the precision measured on the other half;
- "coverage 0.7 …": the mean recall over 20 splits into such halves; "reachable": the largest coverage;
- "tail 0.1 …": P@1, P@5 and PSP@5 of answers of five labels.

The second trains `linear` with its preset on all texts, with and without its calibration, and records the ratio
of their CPU times. The third trains `linear` as it is by default, choosing its settings and calibrated, or takes
such a run, and measures the tail knob on the test texts.
"""

from __future__ import annotations

import sys
import tempfile
import time

import numpy as np
from record import row

import megalabel
from megalabel.data.filters import filter_of
from megalabel.inference.tail import TAILS, tail_curve
from megalabel.kernels.sparse.hits import hits
from megalabel.metrics.calibration import reliability
from megalabel.metrics.ranking import measure
from megalabel.models.answer import for_tail
from megalabel.models.asking import inverse_propensities
from megalabel.models.base import Classifier
from megalabel.models.calibrated import DEPTH
from megalabel.models.tail import places
from megalabel.models.thresholds import precision_table, recall_table
from megalabel.recipes import from_preset
from megalabel.recipes.linear import linear
from megalabel.training.run_folder import held_out_rows
from megalabel.types import TopK

PRECISIONS, COVERAGES = (0.5, 0.7, 0.8, 0.9), (0.3, 0.5, 0.7, 0.8, 0.9)
RESAMPLES, SPLITS = 200, 20
FIRST = 10  # labels per text of the precision


def measured(data: str, run: str) -> None:
    corpus = megalabel.Corpus.open(data)
    with tempfile.TemporaryDirectory() as folder:
        if not run:
            run = f"{folder}/run"
            megalabel.train(linear(corpus, validation_fraction=0.05, trees=1), run)
        model, held = megalabel.load(run), held_out_rows(run)
    side, test = corpus.train, corpus.test
    begun = time.process_time()
    model.calibrate(side.texts[held], side.labels[held], exclude=filter_of(side, held))
    calibration, name = model.calibration, f"{corpus.name} linear"
    row("calibration", name, "fit with ranking, CPU s", time.process_time() - begun, "s")
    top = model.topk(test.texts, DEPTH, exclude=test.filter)
    ids, scores = top.numpy()
    p = calibration.probability(scores)
    for what, values in (("raw", scores), ("calibrated", p)):
        row("calibration", name, f"ECE@5 {what}", reliability(TopK(ids, values), test.labels, 5).error, "share")
    hit, counts = hits(ids, test.labels), np.diff(test.labels.indptr)
    row("calibration", name, "reachable coverage", calibration.reachable, "share")
    resampled(name, p.astype(np.float64), hit, counts)
    inverse = inverse_propensities(model)
    for tail in TAILS:
        at = places(ids, for_tail(model, ids, p), inverse, tail, 5)
        moved = TopK(np.take_along_axis(ids, at, 1), np.take_along_axis(scores, at, 1))
        found = measure(moved, test.labels, k=(1, 5), inverse_propensity=inverse, which=("P", "PSP"))
        for metric in ("P@1", "P@5", "PSP@5"):
            row("calibration", name, f"tail {tail:.1f} {metric}", found[metric], "%")


def resampled(name: str, p: np.ndarray, hit: np.ndarray, counts: np.ndarray) -> None:
    random = np.random.default_rng(0)
    holds: dict[float, list[bool]] = {wanted: [] for wanted in PRECISIONS}
    reached: dict[float, list[float]] = {wanted: [] for wanted in COVERAGES}
    for i in range(RESAMPLES):
        order = random.permutation(len(p))
        a, b = np.array_split(order, 2)
        first = np.s_[:, :FIRST]
        thresholds, bounds = precision_table(p[a][first], hit[a][first])
        for wanted in PRECISIONS:
            enough = np.flatnonzero(bounds >= wanted)
            if len(enough):
                above = p[b][first] >= thresholds[enough[-1]]
                holds[wanted].append(hit[b][first][above].mean() >= wanted)
        if i >= SPLITS:
            continue
        thresholds, recalls = recall_table(p[a], hit[a], counts[a])
        n = np.count_nonzero(counts[a])
        for wanted in COVERAGES:
            enough = np.flatnonzero(n * recalls / (n + 1) >= wanted)
            if len(enough):
                found = (hit[b] & (p[b] >= thresholds[enough[0]])).sum(axis=1)
                reached[wanted].append((found / np.maximum(counts[b], 1))[counts[b] > 0].mean())
    for wanted, held in holds.items():
        if len(held) == RESAMPLES:
            row("calibration", name, f"precision {wanted} holds", 100 * float(np.mean(held)), "%")
    for wanted, recall in reached.items():
        if len(recall) == SPLITS:
            row("calibration", name, f"coverage {wanted} recall", float(np.mean(recall)), "share")


def tail_knob(data: str, run: str) -> None:
    corpus = megalabel.Corpus.open(data)
    with tempfile.TemporaryDirectory() as folder:
        if not run:
            run = f"{folder}/run"
            megalabel.train(linear(corpus), run, quiet=True)
        model = megalabel.load(run)
    for tail, found in tail_curve(model, corpus, k=(1, 5)):
        for metric in ("P@1", "P@5", "PSP@5"):
            row("tail", f"{corpus.name} linear", f"{tail:.1f} {metric}", found[metric], "%")


def cost(data: str) -> Classifier:
    corpus, taken = megalabel.Corpus.open(data), []
    for calibration in ("no", "yes"):
        begun = time.process_time()
        model = from_preset("linear", corpus, calibration=calibration).solve(print)
        taken.append(time.process_time() - begun)
    row("calibration", f"{corpus.name} linear", "training without, CPU s", taken[0], "s")
    row("calibration", f"{corpus.name} linear", "training with / without", taken[1] / taken[0], "times")
    return model


if __name__ == "__main__":
    if sys.argv[1] == "cost":
        cost(sys.argv[2])
    elif sys.argv[1] == "tail":
        tail_knob(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "")
    else:
        measured(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
