"""One linear classifier per label over words and bigrams, searched through label trees; there is no encoder.

Prabhu, Kag, Harsola, Agrawal and Varma, "Parabel", WWW 2018, and XR-Linear (Yu, Zhong, Zhang, Chang and Dhillon,
"PECOS", JMLR 2022). Labels are clustered by the texts that have them; each cluster and label gets a linear model
with the squared hinge loss and an L2 penalty, trained on the texts of its parent only; weights near 0 are dropped.
Trees are searched by beam search, and the probabilities of several trees are averaged. Wide, shallow trees are
from Bonsai (Khandagale, Xiao and Babbar, Machine Learning 2020). Bags of words are used unchanged except that
their rows are normalized to length 1. Beyond these papers, label texts can be additional training texts, as in
Renée.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from megalabel.recipes.linear_options import LinearOptions, StoredWeightsOptions
from megalabel.recipes.options import HeldOutOptions
from megalabel.training.recipe import DirectRecipe, Say, recipe

if TYPE_CHECKING:
    import numpy as np

    from megalabel.data.corpus import Corpus
    from megalabel.inputs.bag_of_words import BagOfWords
    from megalabel.inputs.sparse_text import SparseText
    from megalabel.models.base import Classifier


class Linear(LinearOptions, StoredWeightsOptions, HeldOutOptions):
    """The options of the linear recipe, which does not use held-out texts itself."""

    panel = HeldOutOptions.panel

    validation_fraction = 0.0

    calibration: Annotated[
        Literal["yes", "no"], "Calibrate by trees that leave a tenth of the texts out; no: save their time."
    ] = "yes"


@recipe
def linear(corpus: Corpus, options: Linear) -> DirectRecipe:
    """Linear models over words and bigrams, in several label trees (Parabel, PECOS, Bonsai)."""
    from megalabel.data.row_weights import normalized_weights, with_weight
    from megalabel.distributed.world import World
    from megalabel.inputs.bag_of_words import BagOfWords, model_inputs
    from megalabel.inputs.batches import hold_out
    from megalabel.linear.forest import solve_trees
    from megalabel.linear.over_ranks import check_same_rows
    from megalabel.models.label_pairs import STRENGTH
    from megalabel.models.linear import LinearClassifier
    from megalabel.models.trained_on import TrainedOn
    from megalabel.recipes.linear_calibration import calibration_of
    from megalabel.recipes.linear_choice import decided

    bags = None if corpus.train.features is None else BagOfWords.from_rows(corpus.train.features)
    options.solver(corpus.n_labels)  # refuses depths that do not fit before a run begins
    kept, held = hold_out(len(corpus.train), options.validation_fraction, options.seed)
    kept = with_weight(corpus.train, kept)

    def solve(say: Say) -> Classifier | None:
        world = World.current()
        chosen = decided(options, corpus, kept, say, world)
        labels = _rows(corpus.train.labels, kept)
        text: SparseText | BagOfWords
        if bags is None:
            words = chosen.words()
            made = words.rows(corpus.train.texts[kept], labels, corpus.label_texts, seed=options.seed, say=say)
            text, x, labels = made.text, made.x, made.labels
        else:
            text, x = bags, bags.transform(_rows(model_inputs(corpus.train, corpus, bags.size), kept))
        check_same_rows(x, labels, world)
        weights = normalized_weights(corpus.train, kept, x.shape[0] - len(kept))
        shared = {"weights": weights, "seed": options.seed, "say": say, **chosen.solver(corpus.n_labels)}
        shared |= {"stored": options.weights, "trees": options.trees, "world": world}
        calibration, strength = None, STRENGTH
        if options.calibration == "yes" and not len(held):
            calibration, strength = calibration_of(x, labels, corpus, kept, **shared)
        beams = solve_trees(x, labels, **shared)
        if not world.is_main:
            return None
        model = LinearClassifier(text, beams, corpus.label_texts)
        model.calibration = calibration
        model.trained_on = replace(TrainedOn.from_data(corpus), strength=strength)
        model.chosen = chosen.differences(options)
        return model

    return DirectRecipe(corpus, solve, validation=held, uses_weights=True, over_processes=True)


def _rows(matrix: Any, kept: np.ndarray) -> Any:
    """Some rows, ascending; the matrix itself if these are all, since it may be large."""
    return matrix if len(kept) == matrix.shape[0] else matrix[kept]
