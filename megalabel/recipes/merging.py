"""Chooses how a hybrid merges its rankings, by cross-validation over the texts that its run held out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp

from megalabel.data.filters import FilterPairs
from megalabel.kernels.sparse.merge_topk import merge_topk
from megalabel.linear.forest import solve_trees
from megalabel.models.boosted_merge import (
    TREES,
    BoostedMerge,
    SearchedRanking,
    candidates,
    cross_validated,
    crossed_merge,
    roots,
)
from megalabel.models.calibrated import DEPTH as CALIBRATED
from megalabel.models.calibrated import FEWEST as LEAST_CALIBRATED
from megalabel.models.calibrated import Calibration
from megalabel.models.hybrid import HybridClassifier, whole_words
from megalabel.models.mixture import DEPTH, Mixture
from megalabel.progress import Counted
from megalabel.retrieval.index import RetrievalIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megalabel.linear.training_rows import TrainingRows
    from megalabel.training.recipe import Say

LEAST_GAIN = 0.1  # points of nDCG@5 that search must add to the merge without it
LEFT_OUT, MOST = 0.25, 5000  # of the texts, which word trees do not learn when a correction of theirs is fitted
FEWEST = 100  # texts to fit it on


def search_index(made: TrainingRows, rows: np.ndarray) -> RetrievalIndex:
    """The index of training rows.

    Args:
        made: the training rows, label texts last.
        rows: (n,) the rows of the training set of these texts.
    """
    origins = np.concatenate([rows, -1 - made.label_text_rows])
    return RetrievalIndex.build(whole_words(made.text, made.x), made.labels, origins)


def searched_ranking(
    made: TrainingRows, rows: np.ndarray, *, trees: int, seed: int, solver: dict[str, Any]
) -> SearchedRanking | None:
    """What corrects the ranking of word trees, fitted on a quarter of the texts; None for fewer than 100.

    Trees and index for the fit are made of the other texts.

    Args:
        made: the training rows, label texts last.
        rows: (n,) the rows of the training set of these texts.
        trees: the number of word trees.
        seed: seeds the draw of the texts, and the trees.
        solver: the arguments of `solve_trees`.
    """
    n = len(rows)
    asked = np.sort(np.random.default_rng([seed, 3]).permutation(n)[: min(int(n * LEFT_OUT), MOST)])
    labels = made.labels[asked]
    if len(asked) < FEWEST or labels.nnz == 0:
        return None
    rest = np.setdiff1d(np.arange(made.x.shape[0]), asked)
    learned = made._replace(x=made.x[rest], labels=made.labels[rest])
    of_rows = {name: None if solver[name] is None else solver[name][rest] for name in ("further", "weights")}
    solver = {**solver, **of_rows}
    beams = solve_trees(learned.x, learned.labels, trees=trees, seed=seed, name="correction tree", **solver)
    index = search_index(learned, rows[rest[rest < n]])
    top = merge_topk([beam(made.x[asked], DEPTH, None) for beam in beams], DEPTH)
    near = index.near(whole_words(made.text, made.x[asked]))
    return SearchedRanking.fit(top, *near, index.known, labels)


def choose_merge(
    models: Sequence[HybridClassifier],
    texts: Sequence[str],
    labels: sp.csr_matrix,
    exclude: np.ndarray | None,
    *,
    weights: tuple[float, ...] = (),
    merge: Literal["auto", "boosted", "mixture"],
    say: Say,
) -> HybridClassifier:
    """Fits the merge of hybrids on held-out texts and returns the best; a later one must gain 0.1 nDCG@5.

    Args:
        models: hybrids with the same trees; those with an index may merge by boosted trees.
        texts: n held-out texts.
        labels: (n, L) CSR, their labels.
        exclude: (F, 2) pairs (row, label) that are left out.
        weights: of the mixture; () for fitted ones.
        merge: "boosted" also where the trees gain nothing, "mixture" for none.
        say: a function that takes one line of text.
    """
    best, highest = models[0], -np.inf
    for model in Counted(models, "fitting the merge"):
        found = model.search(texts, DEPTH, exclude)
        model.mixture = Mixture.fit(found.rankings, model.score_types, labels, weights)
        if model.index is None or merge == "mixture":
            return model
        made = candidates(model.mixture, found, model.index.known)
        made = made._replace(ids=_left_out(made.ids, exclude))
        n_trees, reached = cross_validated(made, labels)
        n_trees = n_trees or (TREES[0] if merge == "boosted" else 0)
        model.learned = BoostedMerge.fit(made, labels, n_trees) if n_trees else None
        score = float(reached.mean())
        name = "with neighbors" if model.index.n_features else "without neighbors"
        say(f"merge {name}: {score:.2f} nDCG@5 on held-out texts, cross-validated, with {n_trees} boosted trees")
        if score >= highest + LEAST_GAIN:
            best, highest = model, score
    if best.index is not None and not best.index.n_features and best.learned is None:
        best.index = None  # nothing reads it
    return best


def calibrate_merge(
    model: HybridClassifier, texts: Sequence[str], labels: sp.csr_matrix, exclude: np.ndarray | None
) -> None:
    """Calibrates a hybrid, in place, on held-out texts; boosted trees by ones that other folds of them gave."""
    if model.index is None or model.learned is None:  # three numbers per ranking do not overfit
        model.calibrate(texts, labels, exclude=exclude, held_out=True)
        return
    if len(texts) < LEAST_CALIBRATED:
        return
    found = model.search(texts, CALIBRATED, exclude)
    both = [candidates(model.mixture, found, model.index.known, k) for k in (5, CALIBRATED)]
    made, deep = (part._replace(ids=_left_out(part.ids, exclude)) for part in both)
    top = roots(crossed_merge(made, deep, labels, len(model.learned.trees.features), CALIBRATED))
    learned = None if model.trained_on is None else model.trained_on.without(labels)
    model.calibration = Calibration.fit(top, labels, "probability", learned=learned)


def _left_out(ids: np.ndarray, exclude: np.ndarray | None) -> np.ndarray:
    """Candidates (n, C) with -1 for the pairs that are left out."""
    pairs = FilterPairs(exclude, len(ids))
    if not len(pairs):
        return ids
    width = np.int64(max(int(ids.max(initial=0)), int(exclude[:, 1].max())) + 1)  # type: ignore[index]
    keys = np.arange(len(ids))[:, None] * width + ids
    return np.where(np.isin(keys, exclude[:, 0].astype(np.int64) * width + exclude[:, 1]), -1, ids)  # type: ignore[index]
