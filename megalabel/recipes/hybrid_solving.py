"""The solver of the recipe hybrid: trees over words and embedding, and how their rankings are merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.filters import filter_of
from megalabel.data.row_weights import normalized_weights, with_weight
from megalabel.linear.forest import solve_trees
from megalabel.models.hybrid import HybridClassifier, whole_words
from megalabel.models.mixture import Mixture
from megalabel.phases import phase
from megalabel.recipes.embedded import embeddings
from megalabel.recipes.linear_choice import decided
from megalabel.recipes.merging import calibrate_merge, choose_merge, search_index, searched_ranking
from megalabel.retrieval.index import RetrievalIndex

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.data.texts import Texts
    from megalabel.kernels.linear.sparse_beam import SparseBeam
    from megalabel.linear.training_rows import TrainingRows
    from megalabel.models.neural import NeuralClassifier
    from megalabel.training.recipe import Say


def solved(
    first: NeuralClassifier,
    say: Say,
    corpus: Corpus,
    kept: np.ndarray,
    held: np.ndarray,
    options: Any,
) -> HybridClassifier:
    """Fits the trees on the texts that the run learned, and the merge on those that it held out.

    Args:
        first: the model of the run.
        say: a function that takes lines of text.
        corpus: the data set.
        kept, held: the rows that the run learned and held out.
        options: those of the recipe hybrid.
    """
    given, options = options, decided(options, corpus, kept, say)
    side, norm = corpus.train, options.embedding_norm
    made, joint, words, solver = _trees(first, say, corpus, kept, kept, options)
    names = ["base model", *(["joint trees"] if joint else []), "word trees"]
    mixture = Mixture.from_weights(options.weights or [1.0] * len(names))
    parts = first, made.text, joint, words, norm, mixture
    model = HybridClassifier(*parts)
    if side.labels[held].nnz:  # otherwise, weights are given
        merge: Any = "mixture" if options.merge == "auto" and options.weights else options.merge
        models = []
        if merge == "mixture" or options.neighbors != "yes":
            alone = None if merge == "mixture" else RetrievalIndex.without_rows(made.labels[: len(kept)])
            models.append(HybridClassifier(*parts, alone))
        if merge != "mixture" and options.neighbors != "no":
            searched = searched_ranking(made, kept, trees=options.trees, seed=options.seed, solver=solver)
            models.append(HybridClassifier(*parts, search_index(made, kept), None, searched))
        asked = side.texts[held], side.labels[held], filter_of(side, held)
        with phase("fitting the merge"):
            model = choose_merge(models, *asked, weights=options.weights, merge=merge, say=say)
            calibrate_merge(model, *asked)
    say("weights: " + ", ".join(f"{n} {w:.2f}" for n, w in zip(names, model.mixture.weights, strict=True)))
    if options.refit:
        model = refitted(model, say, corpus, kept, options)
    model.chosen = options.differences(given)
    return model


def refitted(
    model: HybridClassifier, say: Say, corpus: Corpus, kept: np.ndarray, options: Any
) -> HybridClassifier:
    """The hybrid with its trees and its search fitted again on all training texts; what merges them stays.

    Args:
        model: a hybrid whose trees were fitted without the texts that its run held out.
        say: a function that takes lines of text.
        corpus: the data set.
        kept: the rows that the run learned.
        options: those of the recipe hybrid, with the settings that were chosen for `model`.
    """
    say("refit: the same on all training texts")
    side, first = corpus.train, model.base_model
    rows = with_weight(side, np.arange(len(side)))
    made, joint, words, _ = _trees(first, say, corpus, rows, kept, options)
    index = model.index
    if index is not None:
        index = search_index(made, rows) if index.n_features else RetrievalIndex.without_rows(side.labels)
    fitted = model.mixture, index, model.learned, model.searched
    found = HybridClassifier(first, made.text, joint, words, options.embedding_norm, *fitted)
    found.calibration = model.calibration  # of trees that had not learned the texts that were held out
    return found


def _trees(
    first: NeuralClassifier, say: Say, corpus: Corpus, rows: np.ndarray, kept: np.ndarray, options: Any
) -> tuple[TrainingRows, list[SparseBeam], list[SparseBeam], dict[str, Any]]:
    """The features of some training texts, joint trees and word trees on them, and the arguments of the solver.

    rows, kept: the training texts, and those that the run learned, which are among them.
    """
    texts, seed, norm = corpus.train.texts[rows], options.seed, options.embedding_norm
    made = options.words().rows(texts, corpus.train.labels[rows], corpus.label_texts, seed=seed, say=say)
    further = _shortlists(first, texts, options.shortlist, made.labels) if options.shortlist else None
    weights = normalized_weights(corpus.train, rows, len(made.label_text_rows))
    solver = {**options.solver(corpus.n_labels), "say": say, "further": further, "weights": weights}
    joint, n_joint = [], options.joint_trees
    if n_joint:
        say(f"joint trees: {first.encoder.dim} embedding features in addition to the words")
        dense = embeddings(first, options.run, corpus, rows, kept, made.label_text_rows, norm)
        seen = whole_words(made.text, made.x)
        joint = solve_trees(seen, made.labels, trees=n_joint, seed=seed, dense=dense, name="joint tree", **solver)
    words = solve_trees(made.x, made.labels, trees=options.trees, seed=seed + n_joint, name="word tree", **solver)
    return made, joint, words, solver


def _shortlists(first: NeuralClassifier, texts: Texts, k: int, labels: sp.csr_matrix) -> sp.csr_matrix:
    """The k best labels of each text by the run: CSR of ones shaped like `labels`, label texts excluded."""
    with phase("ranking by the base model"):
        best = first.topk(texts, k, progress="ranking by the base model").numpy()[0]
    there = best >= 0
    rows = np.repeat(np.arange(len(best)), k).reshape(best.shape)[there]
    return sp.csr_matrix((np.ones(len(rows), labels.dtype), (rows, best[there])), shape=labels.shape)
