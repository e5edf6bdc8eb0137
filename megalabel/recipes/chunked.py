"""Reads long texts in chunks with the model of a finished run, where held-out texts gain by it.

Nothing is trained. Sizes of chunks and ways of pooling their rankings are compared with whole texts on texts that
the run has not learned: those that it held out or, for a run on short texts such as titles, the training texts of
another data set with longer texts of the same labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megalabel.recipes.chunk_options import Chunked
from megalabel.recipes.options import conflict
from megalabel.training.recipe import DirectRecipe, recipe

if TYPE_CHECKING:
    import numpy as np

    from megalabel.data.corpus import Corpus
    from megalabel.models.base import Classifier


@recipe
def chunked(corpus: Corpus, options: Chunked) -> DirectRecipe:
    """Cuts long texts into chunks, and pools the scores that a finished run gives to them."""
    from megalabel.models.neural import NeuralClassifier
    from megalabel.recipes.chunk_choice import chosen
    from megalabel.recipes.retrieval import check_texts

    check_texts(corpus)
    model, held = _model_and_texts(corpus, options)
    first = model if isinstance(model, NeuralClassifier) else None
    # Nothing is trained, so that there is no loss for weights to multiply.
    return DirectRecipe(
        corpus, lambda say: chosen(model, corpus, held, options, say), first, held, uses_weights=True
    )


def _model_and_texts(corpus: Corpus, options: Chunked) -> tuple[Classifier, np.ndarray]:
    """The model of the run, and the training texts of the corpus that it has not learned, (n,) int64.

    SettingError if there are none and something has to be chosen, or if the model reads chunks already.
    """
    from pathlib import Path

    import numpy as np

    from megalabel.models.base import load
    from megalabel.models.chunked import ChunkedClassifier
    from megalabel.training.run_folder import finished_run, held_out_rows
    from megalabel.training.trust import trusted

    facts = finished_run(Path(options.run))
    same = facts["data"].get("fingerprint") == corpus.fingerprint()
    held = held_out_rows(options.run) if same else np.arange(len(corpus.train))
    if not options.given and corpus.train.labels[held].nnz == 0:
        found = "the run held out 0 texts with labels" if same else f"{corpus.name!r} has no labels"
        wanted = "some to choose on (train with --validation-fraction 0.05), or a size of chunks and a pooling"
        raise conflict("chunk_pooling", found, wanted)
    model = load(options.run, trust=trusted())
    if isinstance(model, ChunkedClassifier):
        raise conflict(
            "run", f"the model of {options.run}, which reads chunks already", "the run that it is made from"
        )
    return model, held
