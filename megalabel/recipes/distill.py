"""Makes a small linear model of a run, for the runtime: trees with 8-bit weights, pruned to a size.

The true labels of the training texts teach it and, where further texts are given, the labels that the run gives
them. The labels that the run gives training texts, mixtures of them, and folds that it had not learned made linear
models no better on held-out texts, or worse (docs/log.md), so they are not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from megalabel.recipes.distill_options import Distill
from megalabel.recipes.options import conflict
from megalabel.training.recipe import DirectRecipe, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus


@recipe
def distill(corpus: Corpus, options: Distill) -> DirectRecipe:
    """A small linear model in place of a run, for the runtime without torch."""
    from megalabel.recipes.distilling import distilled, split_of_run

    if corpus.train.features is not None:
        raise conflict("run", "a run over bags of words, which the runtime does not read", "a run over texts")
    if options.texts is not None and not Path(options.texts).exists():
        raise conflict("texts", f"texts = {options.texts}, which does not exist", "a file of texts")
    options.solver(corpus.n_labels)  # refuses depths that do not fit before a run begins
    kept, held = split_of_run(options.run, corpus)
    left_out = held[:0] if options.refit else held
    return DirectRecipe(
        corpus, lambda say: distilled(corpus, kept, held, options, say), validation=left_out, uses_weights=True
    )
