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

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from megalabel.recipes.linear_options import LinearOptions
from megalabel.recipes.options import Nonnegative, Range, Unset, above, between, conflict
from megalabel.training.recipe import DirectRecipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.models.hybrid import HybridClassifier


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
    from megalabel.recipes.hybrid_solving import solved
    from megalabel.recipes.trained import trained_run

    first, kept, held = trained_run(options.run, corpus)
    if not options.weights and corpus.train.labels[held].nnz == 0:
        found = f"the run held out {len(held)} texts with labels"
        raise conflict(
            "weights", found, "some to fit weights on (train with --validation-fraction 0.05), or weights"
        )
    options.solver(corpus.n_labels)  # refuses depths that do not fit before a run begins
    left_out = held[:0] if options.refit else held  # what an ensemble may measure on
    return DirectRecipe(
        corpus,
        lambda say: solved(first, say, corpus, kept, held, options),
        first,
        left_out,
        uses_weights=True,
    )


def refit(corpus: Corpus, options: Hybrid, model: HybridClassifier) -> DirectRecipe:
    """The recipe `hybrid` with `refit`, from a model that it gave without: only the trees are fitted again.

    Args:
        corpus: the data set that the model was trained on.
        options: of that model, with the settings that were chosen for it.
        model: the model; its weights and calibration stay.
    """
    from megalabel.recipes.hybrid_solving import refitted
    from megalabel.recipes.trained import learned_rows

    options = Hybrid.from_values({**options.values(), "refit": True})
    kept, _ = learned_rows(options.run, corpus)
    made = hybrid(corpus, options)  # whose own copy of the run's model is not kept
    return replace(
        made, base_model=model.base_model, solve=lambda say: refitted(model, say, corpus, kept, options)
    )
