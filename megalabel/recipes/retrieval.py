"""Ranks labels by search alone: the votes of the nearest training texts, and similarity to label documents.

Nearest neighbors by TF-IDF, with votes weighted by squared similarity, and one document per label made of the
texts that have it (Rocchio, "Relevance Feedback in Information Retrieval", 1971). Nothing is trained but three
numbers per ranking, its calibration and its weight, which are fitted on training texts that are searched before
they enter the index. Texts can be added to the model at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megalabel.recipes.linear_options import FeatureOptions
from megalabel.recipes.options import HeldOutOptions, SeedOptions
from megalabel.training.recipe import DirectRecipe, Say, recipe

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

    from megalabel.data.corpus import Corpus
    from megalabel.models.base import Classifier
    from megalabel.models.calibrated import Calibration
    from megalabel.models.mixture import Mixture
    from megalabel.types import TopK

SHARE, MOST, FEWEST = 0.1, 2000, 20  # of the training texts, on which the two rankings are weighted


class Retrieval(FeatureOptions, HeldOutOptions, SeedOptions):
    """The options of the retrieval recipe, which does not use held-out texts itself."""

    validation_fraction = 0.0


@recipe
def retrieval(corpus: Corpus, options: Retrieval) -> DirectRecipe:
    """Votes of the nearest training texts and label documents by TF-IDF; texts can be added without training."""
    import numpy as np
    import scipy.sparse as sp

    from megalabel.data.row_weights import normalized_weights, with_weight
    from megalabel.inputs.batches import hold_out
    from megalabel.models.retrieval import RetrievalClassifier
    from megalabel.phases import phase
    from megalabel.retrieval.index import RetrievalIndex

    check_texts(corpus)
    kept, held = hold_out(len(corpus.train), options.validation_fraction, options.seed)
    kept = with_weight(corpus.train, kept)

    def solve(say: Say) -> Classifier:
        texts, known = corpus.train.texts[kept], corpus.train.labels[kept]
        made = options.words().rows(texts, known, corpus.label_texts, seed=options.seed, say=say)
        origins = np.concatenate([kept, -1 - made.label_text_rows])
        weights = normalized_weights(corpus.train, kept, len(made.label_text_rows))
        labels = made.labels if weights is None else (sp.diags_array(weights) @ made.labels).tocsr()
        with phase("fitting the weights"):
            mixture, calibration = _weighted(made.x, labels, origins, len(kept), options.seed, corpus.name)
        say("weights: votes {:.2f}, label documents {:.2f}".format(*mixture.weights))
        with phase("building the index"):
            index = RetrievalIndex.build(made.x, labels, origins)
        model = RetrievalClassifier(made.text, index, mixture, corpus.label_texts)
        model.calibration = calibration
        return model

    return DirectRecipe(corpus, solve, validation=held, uses_weights=True)


def check_texts(corpus: Corpus) -> None:
    """Raises SettingError for a corpus of bags of words, which have no words to search."""
    from megalabel.errors import SettingError

    if corpus.train.features is not None:
        raise SettingError(
            f"{corpus.name!r} has bags of words instead of texts",
            wanted="texts",
            next_step="train the recipe linear, which reads bags of words",
            where="data",
        )


def _weighted(
    x: sp.csr_matrix, labels: sp.csr_matrix, origins: np.ndarray, n_texts: int, seed: int, name: str
) -> tuple[Mixture, Calibration | None]:
    """The mixture of votes and label documents, and its calibration, fitted on a tenth of the texts.

    An index of the rest ranks them.
    """
    import numpy as np

    from megalabel.models import calibrated
    from megalabel.models.mixture import DEPTH, Mixture
    from megalabel.models.retrieval import TYPES, rankings
    from megalabel.models.trained_on import TrainedOn
    from megalabel.retrieval.index import RetrievalIndex

    asked = np.random.default_rng([seed, 2]).permutation(n_texts)[: min(int(n_texts * SHARE), MOST)]
    truth = labels[asked]
    if len(asked) < FEWEST or truth.nnz == 0:
        return Mixture.from_weights([1.0] * len(TYPES)), None
    rest = np.setdiff1d(np.arange(x.shape[0]), asked)
    index = RetrievalIndex.build(x[rest], labels[rest], origins[rest])
    found = rankings(index, x[asked], max(DEPTH, calibrated.DEPTH))
    mixture = Mixture.fit([_first(top, DEPTH) for top in found], TYPES, truth)
    merged = mixture.merge(found, TYPES, min(calibrated.DEPTH, labels.shape[1]))
    learned = TrainedOn.from_labels(name, labels[rest[rest < n_texts]])
    return mixture, calibrated.Calibration.fit(merged, truth, "probability", learned=learned)


def _first(top: TopK, k: int) -> TopK:
    from megalabel.types import TopK

    ids, scores = top.numpy()
    return TopK(ids[:, :k], scores[:, :k])
