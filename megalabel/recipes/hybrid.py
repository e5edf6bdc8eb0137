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

from megalabel.recipes.linear_options import LinearOptions
from megalabel.recipes.options import Nonnegative, Range, Unset, above, between, conflict
from megalabel.training.recipe import DirectRecipe, Say, recipe

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

    from megalabel.data.corpus import Corpus
    from megalabel.data.texts import Texts
    from megalabel.models.base import Classifier
    from megalabel.models.neural import NeuralClassifier


class Hybrid(LinearOptions):
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
    options.solver(corpus.n_labels)  # refuses depths that do not fit before a run begins
    return DirectRecipe(
        corpus,
        lambda say: _solved(first, say, corpus, kept, held, options),
        first,
        held,
        uses_weights=True,
    )


def _solved(
    first: NeuralClassifier,
    say: Say,
    corpus: Corpus,
    kept: np.ndarray,
    held: np.ndarray,
    options: Hybrid,
) -> Classifier:
    import numpy as np

    from megalabel.data.filters import filter_of
    from megalabel.data.row_weights import normalized_weights
    from megalabel.linear.forest import solve_trees
    from megalabel.models.hybrid import HybridClassifier, scaled_embeddings, whole_words
    from megalabel.models.mixture import DEPTH, Mixture
    from megalabel.recipes.linear_choice import decided
    from megalabel.recipes.merging import choose_merge, search_index

    given, options = options, decided(options, corpus, kept, say)
    texts, side, seed = corpus.train.texts[kept], corpus.train, options.seed
    made = options.words().rows(texts, side.labels[kept], corpus.label_texts, seed=seed, say=say)
    further = _shortlists(first, texts, options.shortlist, made.labels) if options.shortlist else None
    weights = normalized_weights(side, kept, len(made.label_text_rows))
    solver = {**options.solver(corpus.n_labels), "say": say, "further": further, "weights": weights}
    joint, n_joint, norm = [], options.joint_trees, options.embedding_norm
    if n_joint:
        say(f"joint trees: {first.encoder.dim} embedding features in addition to the words")
        parts = texts, corpus.label_texts[made.label_text_rows]
        dense = np.concatenate([scaled_embeddings(first, part, norm) for part in parts])
        seen = whole_words(made.text, made.x)
        joint = solve_trees(seen, made.labels, trees=n_joint, seed=seed, dense=dense, name="joint tree", **solver)
    words = solve_trees(made.x, made.labels, trees=options.trees, seed=seed + n_joint, name="word tree", **solver)
    names = ["base model", *(["joint trees"] if joint else []), "word trees"]
    mixture = Mixture.from_weights(options.weights or [1.0] * len(names))
    model = HybridClassifier(first, made.text, joint, words, norm, mixture)
    if side.labels[held].nnz:  # otherwise, weights are given
        boost = options.merge == "boosted" or (options.merge == "auto" and not options.weights)
        index = search_index(made, kept) if boost and options.neighbors != "no" else None
        found = model.search(side.texts[held], DEPTH, filter_of(side, held), 256, index)
        model.mixture = Mixture.fit(found.rankings, model.score_types, side.labels[held], options.weights)
        if boost:
            merge: Any = {"merge": options.merge, "neighbors": options.neighbors, "say": say}
            choose_merge(model, found, index, side.labels[held], made.labels[: len(kept)], **merge)
    model.chosen = options.differences(given)
    say("weights: " + ", ".join(f"{n} {w:.2f}" for n, w in zip(names, model.mixture.weights, strict=True)))
    return model


def _shortlists(first: NeuralClassifier, texts: Texts, k: int, labels: sp.csr_matrix) -> sp.csr_matrix:
    """The k best labels of each text by the run: CSR of ones shaped like `labels`, label texts excluded."""
    import numpy as np
    import scipy.sparse as sp

    best = first.topk(texts, k).numpy()[0]
    there = best >= 0
    rows = np.repeat(np.arange(len(best)), k).reshape(best.shape)[there]
    return sp.csr_matrix((np.ones(len(rows), labels.dtype), (rows, best[there])), shape=labels.shape)
