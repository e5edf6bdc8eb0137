"""The solver of the recipe distill: a linear model that fits into a fraction of the bytes of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.filters import filter_of
from megalabel.data.row_weights import normalized_weights, with_weight
from megalabel.data.texts import Texts
from megalabel.errors import DataError
from megalabel.exporting.export import parts_of
from megalabel.inference.predict import stream_texts
from megalabel.kernels.linear.compact_chunks import float32_values
from megalabel.linear.forest import solve_trees
from megalabel.metrics.ranking import measure
from megalabel.models.base import Classifier, load
from megalabel.models.find import model_folder
from megalabel.models.linear import LinearClassifier
from megalabel.models.scores import probabilities
from megalabel.recipes.linear_choice import decided
from megalabel.storage.files import folder_bytes
from megalabel.storage.manifest import NAME
from megalabel.training.calibration import calibrate_on_rows
from megalabel.training.run_folder import finished_run, held_out_of
from megalabel.training.trust import trusted

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.recipes.distill_options import Distill
    from megalabel.training.recipe import Say

RESERVED = 1 << 15  # bytes of the header and of the tables of a calibration
TRIES = 4  # how often trees are fitted, with more and more weights pruned, until they fit
SPARE = 1.25  # by how much more than what is too large is pruned
LABELS = 20  # best labels of a further text that are looked at
DEPTHS = (1, 3, 5)


def split_of_run(run: str, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """The texts of a corpus that a student learns, and those on which it is compared with the run.

    Returns:
        The rows that the run learned and held out, both (n,) int64; of other data than the run's, and for a model
        folder without a run, all rows and none.
    """
    if not (Path(run) / NAME).is_file():
        finished_run(Path(run))
    held = held_out_of(run, corpus)
    return with_weight(corpus.train, np.setdiff1d(np.arange(len(corpus.train)), held)), held


def distilled(corpus: Corpus, kept: np.ndarray, held: np.ndarray, options: Distill, say: Say) -> Classifier:
    """Fits the linear model, and says how it compares with the run on the texts that this held out.

    Args:
        corpus: the data set.
        kept, held: the rows that the run learned, and the others.
        options: those of the recipe distill.
        say: a function that takes lines of text.
    """
    run = load(options.run, device="cpu", trust=trusted())
    if not {*run.label_texts} & {*corpus.label_texts}:
        raise DataError(
            f"no label of {corpus.name}, such as {corpus.label_texts[0]!r:.60}, is one of the run, "
            f"such as {run.label_texts[0]!r:.60}",
            wanted="texts with labels of the run",
            next_step="leave DATA out for the data set of the run",
            where="data",
        )
    limit = round(options.size * folder_bytes(model_folder(options.run)))
    chosen = decided(options, corpus, kept, say)
    further = None if options.texts is None else labeled_by(run, options, corpus, say)
    model = fitted(corpus, kept, chosen, further, limit, say)
    compare(run, model, corpus, held, say)
    if options.refit and len(held):
        calibrate_on_rows(model, corpus, held, say)
        say("refit: the same on all training texts")
        calibration = model.calibration  # of trees that had not learned the texts that were held out
        rows = with_weight(corpus.train, np.arange(len(corpus.train)))
        model = fitted(corpus, rows, chosen, further, limit, say)
        model.calibration = calibration
    model.chosen = chosen.differences(options)
    return model


class Further(NamedTuple):
    """Further texts that are learned, n of them: their labels (n, L), and their weights (n,)."""

    texts: list[str]
    labels: sp.csr_matrix
    weights: np.ndarray


def fitted(
    corpus: Corpus, rows: np.ndarray, options: Distill, further: Further | None, limit: int, say: Say
) -> LinearClassifier:
    """A linear model of some training texts and further ones, whose export has at most `limit` bytes."""
    texts, labels = corpus.train.texts[rows], corpus.train.labels[rows]
    weights = normalized_weights(corpus.train, rows)
    if further is not None:
        weights = np.concatenate([np.ones(len(rows)) if weights is None else weights, further.weights])
        texts, labels = Texts.from_strings([*texts, *further.texts]), sp.vstack([labels, further.labels]).tocsr()
    made = options.words().rows(texts, labels, corpus.label_texts, seed=options.seed, say=say)
    if weights is not None:
        weights = np.append(weights, np.ones(made.x.shape[0] - len(weights))).astype(np.float32)
    solver = {**options.solver(corpus.n_labels), "weights": weights, "stored": options.weights}

    def fit(prune_below: float) -> LinearClassifier:
        shared = {"trees": options.trees, "seed": options.seed, "say": lambda line: None}
        trees = solve_trees(made.x, made.labels, **{**solver, **shared, "prune_below": prune_below})
        return LinearClassifier(made.text, trees, corpus.label_texts)

    return fitting(fit, options.prune_below, limit, say)


def labeled_by(run: Classifier, options: Distill, corpus: Corpus, say: Say) -> Further:
    """Further texts with the labels that a run gives them; those that it gives none are left out."""
    assert options.texts is not None
    columns = {name: i for i, name in enumerate(corpus.label_texts)}
    target = np.array([columns.get(name, -1) for name in run.label_texts], np.int64)
    texts = list(stream_texts(options.texts))
    top = run.topk(texts, run.reach(LABELS))
    ids, scores = top.numpy()
    sure = (ids >= 0) & (probabilities(run, scores) >= options.least_probability)
    sure &= target[np.maximum(ids, 0)] >= 0
    rows = np.nonzero(sure)[0]
    labels = sp.csr_matrix(
        (np.ones(len(rows), corpus.train.labels.dtype), (rows, target[ids[sure]])), (len(texts), corpus.n_labels)
    )
    some = np.flatnonzero(np.diff(labels.indptr))
    least = options.least_probability
    say(f"further texts: {len(some):,} of {len(texts):,} have labels of probability {least:g} or more")
    return Further([texts[i] for i in some], labels[some], np.full(len(some), options.texts_weight))


def fitting(
    fit: Callable[[float], LinearClassifier], prune_below: float, limit: int, say: Say
) -> LinearClassifier:
    """Fits trees, and prunes more weights until the exported model has at most `limit` bytes.

    Args:
        fit: makes a model, given the absolute value below which weights are dropped.
        prune_below: the first of these values.
        limit: bytes.
        say: a function that takes lines of text.
    """
    for i in range(TRIES):
        model = fit(prune_below)
        total = exported_bytes(model)
        say(f"weights from {prune_below:.3g}: {total / 1e6:.1f} MB, {limit / 1e6:.1f} MB wanted")
        if total <= limit or i == TRIES - 1:
            if total > limit:
                say(f"the model is larger than asked for: {total:,} bytes of {limit:,}; give a larger size")
            return model
        levels = [level for tree in model.trees for level in tree.levels]
        sizes = np.concatenate([np.abs(float32_values(level)) for level in levels])
        of_trees = sum(array.nbytes for level in levels for array in level.arrays.values())
        surplus = min(SPARE * (total - limit) / max(of_trees, 1), 0.95)
        prune_below = max(float(np.quantile(sizes, surplus)), prune_below * 1.05) if len(sizes) else prune_below
    raise AssertionError("the last try returns")


def exported_bytes(model: LinearClassifier) -> int:
    """About the bytes of a model when it is exported."""
    return RESERVED + sum(array.nbytes for array in parts_of(model)[1].values())


def compare(run: Classifier, model: Classifier, corpus: Corpus, held: np.ndarray, say: Say) -> None:
    """Says P@k of the run and of the student on held-out texts; nothing without any, or with other labels."""
    truth = corpus.train.labels[held]
    if truth.nnz == 0 or list(run.label_texts) != list(corpus.label_texts):
        return
    texts, exclude = corpus.train.texts[held], filter_of(corpus.train, held)
    found = [
        measure(one.topk(texts, one.reach(max(DEPTHS)), exclude=exclude), truth, k=DEPTHS, which=("P",))
        for one in (run, model)
    ]
    shares = ", ".join(
        f"P@{k} {found[1][f'P@{k}']:.2f} ({found[1][f'P@{k}'] / max(found[0][f'P@{k}'], 1e-9):.1%} of the run's)"
        for k in DEPTHS
    )
    say(f"on {len(held):,} texts that the run held out: {shares}")
