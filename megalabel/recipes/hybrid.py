"""Combines a trained run with linear models over words and embedding together, and over words alone.

The last stage of XR-Transformer (Zhang, Chang, Yu and Dhillon, "Fast Multi-Resolution Transformer Fine-tuning for
Extreme Multi-label Text Classification", NeurIPS 2021): the run's embedding of a text and its TF-IDF vector, each
scaled to a given length, are concatenated, and linear models are fitted on them in label trees, optionally with
the labels that the run wrongly ranks first as additional negatives. Beyond the paper, trees over the words alone
are added (only these use character n-grams, since diverse models combine better), and the three scores are
calibrated and weighted on the texts that the run held out. Where these texts show a gain, boosted trees merge them
with what the nearest training texts, label documents, and labels that occur together say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from megalabel.recipes.linear_options import FeatureOptions, LinearTreeOptions
from megalabel.recipes.options import Nonnegative, Range, Unset, above, between, conflict
from megalabel.training.recipe import DirectRecipe, Say, recipe

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

    from megalabel.data.corpus import Corpus
    from megalabel.data.texts import Texts
    from megalabel.kernels.linear.sparse_beam import SparseBeam
    from megalabel.linear.training_rows import TrainingRows
    from megalabel.models.base import Classifier
    from megalabel.models.neural import NeuralClassifier


class Hybrid(FeatureOptions, LinearTreeOptions):
    """The options of the hybrid recipe."""

    panel = "Hybrid"

    run: Annotated[str, "The folder of a finished run with an encoder and held-out texts."]
    joint_trees: Annotated[int, between(0, 99), "Trees over words and embedding together; 0 for none."] = 3
    embedding_norm: Annotated[float, above(0), "Length of the embedding; TF-IDF has length 1."] = 0.3
    shortlist: Annotated[int, Range(0, 1000, below=True), "Best labels of the run used as negatives; 0: none."] = 0
    weights: Annotated[
        tuple[Nonnegative, ...], Unset("fitted"), "Of the run, the joint trees, the word trees."
    ] = ()
    merge: Annotated[
        Literal["auto", "boosted", "mixture"],
        "How rankings are merged; auto: boosted trees if held-out texts gain.",
    ] = "auto"
    neighbors: Annotated[
        Literal["auto", "yes", "no"],
        "The trees see similar texts and label documents; auto: if held-out texts gain.",
    ] = "auto"
    refit: Annotated[
        bool, "Fit all trees again on all texts, with the weights found; nothing is held out then."
    ] = False

    def __post_init__(self) -> None:
        from megalabel.models.mixture import Mixture

        super().__post_init__()
        parts = 2 + bool(self.joint_trees)
        if self.weights and len(Mixture.from_weights(self.weights).weights) != parts:
            shown = ",".join(f"{w:g}" for w in self.weights)
            found = f"weights = {shown} with joint_trees = {self.joint_trees}"
            raise conflict("weights", found, f"{parts} weights: {self.declared['weights'].help}")
        if self.merge == "mixture" and self.neighbors == "yes":
            raise conflict("neighbors", "neighbors = yes with merge = mixture", "merge = auto or boosted")


@recipe
def hybrid(corpus: Corpus, options: Hybrid) -> DirectRecipe:
    """Linear models over the words and over the embedding of a finished run (after XR-Transformer)."""
    from megalabel.recipes.trained import trained_run

    first, kept, held = trained_run(options.run, corpus)
    if not options.weights and corpus.train.labels[held].nnz == 0:
        found = f"the run held out {len(held)} texts with labels"
        raise conflict(
            "weights", found, "some to fit weights on (train with --validation-fraction 0.05), or weights"
        )
    solver = options.solver(corpus.n_labels)
    left_out = held[:0] if options.refit else held  # what an ensemble may measure on
    return DirectRecipe(
        corpus, lambda say: _solved(first, say, corpus, kept, held, options, solver), first, left_out
    )


def _solved(
    first: NeuralClassifier,
    say: Say,
    corpus: Corpus,
    kept: np.ndarray,
    held: np.ndarray,
    options: Hybrid,
    solver: dict[str, Any],
) -> Classifier:
    import numpy as np

    from megalabel.data.filters import filter_of
    from megalabel.models.hybrid import HybridClassifier
    from megalabel.models.mixture import Mixture
    from megalabel.recipes.merging import choose_merge, search_index, searched_ranking
    from megalabel.retrieval.index import RetrievalIndex

    side, norm = corpus.train, options.embedding_norm
    made, joint, words = _trees(first, say, corpus, kept, options, solver)
    names = ["base model", *(["joint trees"] if joint else []), "word trees"]
    mixture = Mixture.from_weights(options.weights or [1.0] * len(names))
    parts = first, made.text, joint, words, norm, mixture
    model = HybridClassifier(*parts)
    if side.labels[held].nnz:  # otherwise, weights are given
        merge = "mixture" if options.merge == "auto" and options.weights else options.merge
        models = []
        if merge == "mixture" or options.neighbors != "yes":
            alone = None if merge == "mixture" else RetrievalIndex.without_rows(made.labels[: len(kept)])
            models.append(HybridClassifier(*parts, alone))
        if merge != "mixture" and options.neighbors != "no":
            further: Any = {**solver, "say": say, "further": None}
            searched = searched_ranking(made, kept, trees=options.trees, seed=options.seed, solver=further)
            models.append(HybridClassifier(*parts, search_index(made, kept), None, searched))
        asked = side.texts[held], side.labels[held], filter_of(side, held)
        model = choose_merge(models, *asked, weights=options.weights, merge=merge, say=say)
    say("weights: " + ", ".join(f"{n} {w:.2f}" for n, w in zip(names, model.mixture.weights, strict=True)))
    if options.refit:
        say("refit: the same on all training texts")
        rows = np.arange(len(side))
        made, joint, words = _trees(first, say, corpus, rows, options, solver)
        index = model.index
        if index is not None:
            index = search_index(made, rows) if index.n_features else RetrievalIndex.without_rows(side.labels)
        fitted = model.mixture, index, model.learned, model.searched
        model = HybridClassifier(first, made.text, joint, words, norm, *fitted)
    return model


def _trees(
    first: NeuralClassifier, say: Say, corpus: Corpus, rows: np.ndarray, options: Hybrid, solver: dict[str, Any]
) -> tuple[TrainingRows, list[SparseBeam], list[SparseBeam]]:
    """The features of some training texts, joint trees and word trees on them."""
    import numpy as np

    from megalabel.linear.forest import solve_trees
    from megalabel.models.hybrid import scaled_embeddings, whole_words

    texts, seed, norm = corpus.train.texts[rows], options.seed, options.embedding_norm
    made = options.words().rows(texts, corpus.train.labels[rows], corpus.label_texts, seed=seed, say=say)
    further = _shortlists(first, texts, options.shortlist, made.labels) if options.shortlist else None
    solver = {**solver, "say": say, "further": further}
    joint, n_joint = [], options.joint_trees
    if n_joint:
        say(f"joint trees: {first.encoder.dim} embedding features in addition to the words")
        parts = texts, corpus.label_texts[made.label_text_rows]
        dense = np.concatenate([scaled_embeddings(first, part, norm) for part in parts])
        seen = whole_words(made.text, made.x)
        joint = solve_trees(seen, made.labels, trees=n_joint, seed=seed, dense=dense, name="joint tree", **solver)
    words = solve_trees(made.x, made.labels, trees=options.trees, seed=seed + n_joint, name="word tree", **solver)
    return made, joint, words


def _shortlists(first: NeuralClassifier, texts: Texts, k: int, labels: sp.csr_matrix) -> sp.csr_matrix:
    """The k best labels of each text by the run: CSR of ones shaped like `labels`, label texts excluded."""
    import numpy as np
    import scipy.sparse as sp

    best = first.topk(texts, k).numpy()[0]
    there = best >= 0
    rows = np.repeat(np.arange(len(best)), k).reshape(best.shape)[there]
    return sp.csr_matrix((np.ones(len(rows), labels.dtype), (rows, best[there])), shape=labels.shape)
