"""Linear rankers beside a trained run: over its embedding and the words together, and over the words alone.

The last stage of XR-Transformer (Zhang, Chang, Yu and Dhillon, "Fast Multi-Resolution Transformer Fine-tuning for
Extreme Multi-label Text Classification", NeurIPS 2021): the run's embedding of a text and its TF-IDF, each of a
given length, are one row of features, and linear models are solved on them down label trees, if wanted with the
labels that the run wrongly puts first as further negatives. Beyond the paper, trees over the words alone stand
beside them (only these see pieces of words: rankers that differ are worth more together), and the three scores are
calibrated and weighed on the texts that the run held out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from megalabel.errors import SettingError
from megalabel.training.recipe import Say, Solved, recipe

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

    from megalabel.data.corpus import Corpus
    from megalabel.data.texts import Texts
    from megalabel.linear.training_rows import WordFeatureOptions
    from megalabel.models.base import Ranker
    from megalabel.models.neural import Model

HELD = 0.05  # of the training texts, where a recipe with `hybrid` would hold out none


@recipe
def hybrid(
    data: Corpus,
    *,
    run: str,
    split: str = "letters",
    word_pairs: bool = True,
    pieces: bool = False,
    piece_words: int = 0,
    vocabulary: int = 1_000_000,
    min_texts: int = 1,
    label_rows: str = "auto",
    trees: int = 3,
    joined_trees: int = 3,
    embedding: float = 0.3,
    shortlist: int = 0,
    weights: tuple[float, ...] = (),
    depths: tuple[int, ...] = (),
    keep: int = 1000,
    cost: float = 1.0,
    eps: float = 0.1,
    rounds: int = 20,
    threshold: float = 0.1,
    beam: int = 10,
    chance: str = "l3-hinge",
    seed: int = 0,
) -> Solved:
    """Linear rankers beside a trained run: over its embedding and the words together, and over the words alone.

    Args:
        data: the corpus that the run was trained on.
        run: the run folder; of a recipe with an encoder, and with texts held out for validation.
        split: into words alone (letters), words and signs (words) or runs of signs (signs), or at blanks alone
            (symbols), for formulae.
        word_pairs: pairs of neighbouring words are features too.
        pieces: pieces of words of 3 to 5 letters are features of the trees over words alone.
        piece_words: pieces only where the median text has at most so many words, as they take time; 0 for any.
        vocabulary: most features, those of most texts first.
        min_texts: in how many texts a feature must stand.
        label_rows: train on the label texts as further rows: yes, no, or auto, which looks whether training texts
            that are very like a label's text have that label.
        trees: how many trees over the words alone.
        joined_trees: how many trees over the words and the embedding; 0 for none.
        embedding: the length of an embedding beside its words, whose TF-IDF has length 1.
        shortlist: so many of the run's best labels are told apart on each text; 0 for the siblings alone.
        weights: of the run, the joined trees, the trees alone; empty: fitted on the texts that the run held out.
        depths: rising; level i of a tree has 2^depths[i] clusters. Empty: what suits the number of labels.
        keep: features of a label by which it is clustered.
        cost: what a unit of squared loss costs beside the regularisation.
        eps: how near to its optimum a model is solved; 0.1 is LIBLINEAR's.
        rounds: at most so many over a model's texts.
        threshold: weights below it in absolute value are dropped.
        beam: clusters of each level that a prediction keeps.
        chance: how a score becomes a probability: l3-hinge (PECOS), l2-hinge, or sigmoid.
        seed: of the trees and the solver's order; of tree i, seed + i.
    """
    knobs = dict(locals())
    del knobs["data"], knobs["run"]
    from megalabel.recipes.shared import trained_run

    first, kept, held = trained_run(run, data)
    second = rankers(data, kept, held, knobs)
    return Solved(data, lambda say: second(first, say), first)


def held_share(validation: float, hybrid: bool) -> float:
    """The share of the texts that a recipe holds out, of which a hybrid needs some."""
    return validation or (HELD if hybrid else 0.0)


def second_stage(data: Corpus, kept: np.ndarray, held: np.ndarray) -> Callable[[Model, Say], Ranker]:
    """The second stage of a recipe with `hybrid`: this recipe, with the preset of the data set."""
    from megalabel.recipes.presets import find, taken

    parameters = inspect.signature(hybrid).parameters
    knobs = {name: parameter.default for name, parameter in parameters.items() if name not in ("data", "run")}
    return rankers(data, kept, held, {**knobs, **taken(find("hybrid", data.name), {})})


def rankers(
    data: Corpus, kept: np.ndarray, held: np.ndarray, knobs: dict[str, Any]
) -> Callable[[Model, Say], Ranker]:
    """What makes a hybrid of a model: solved on texts `kept`, weighed by those `held`; it checks the knobs."""
    from megalabel.inputs.words import check_has_words
    from megalabel.linear.forest import chosen_depths
    from megalabel.linear.training_rows import WordFeatureOptions
    from megalabel.models.mixture import Mixture

    knobs = dict(knobs)
    features = WordFeatureOptions(
        knobs.pop("split"), knobs.pop("word_pairs"), knobs.pop("pieces"), knobs.pop("piece_words"),
        knobs.pop("vocabulary"), knobs.pop("min_texts"), knobs.pop("label_rows"),
    )  # fmt: skip
    check_has_words(data.train.texts, features.token_pattern)
    knobs["cluster_features"] = knobs.pop("keep")
    knobs["depths"] = chosen_depths(tuple(knobs["depths"]), data.n_labels)
    parts, weights = 2 + bool(knobs["joined_trees"]), knobs["weights"]
    if weights and len(Mixture.of(weights).weights) != parts:
        raise SettingError(
            f"weights = {','.join(f'{w:g}' for w in weights)} with joined_trees = {knobs['joined_trees']}",
            wanted=f"{parts} weights: of the run, of the joined trees where there are any, of the trees alone",
            next_step="leave weights out to have them fitted",
            where="weights",
        )
    if not weights and data.train.labels[held].nnz == 0:
        raise SettingError(
            f"a run that held out {len(held)} texts with labels",
            wanted="some, by which scores are calibrated and weighed",
            next_step="train the run with --validation 0.05, or give --weights",
            where="weights",
        )
    return lambda first, say: _solved(first, say, data, kept, held, features, **knobs)


def _solved(
    first: Model, say: Say, data: Corpus, kept: np.ndarray, held: np.ndarray, features: WordFeatureOptions, *,
    trees: int, joined_trees: int, embedding: float, shortlist: int, weights: tuple[float, ...], seed: int,
    chance: str, **how: Any,
) -> Ranker:  # fmt: skip
    import numpy as np

    from megalabel.data.filters import filter_of
    from megalabel.linear.forest import solve_trees
    from megalabel.models.hybrid import HybridModel, embedded, whole
    from megalabel.models.mixture import DEPTH, Mixture

    texts, side = data.train.texts[kept], data.train
    made = features.rows(texts, side.labels[kept], data.label_texts, seed=seed, say=say)
    further = _shortlists(first, texts, shortlist, made.labels) if shortlist else None
    settings = {**how, "scores": chance, "say": say, "further": further}
    joined = []
    if joined_trees:
        say(f"joint trees: {first.encoder.dim} embedding features in addition to the words")
        dense = np.concatenate(
            [embedded(first, part, embedding) for part in (texts, data.label_texts[made.label_text_rows])]
        )
        seen = whole(made.text, made.x)
        joined = solve_trees(
            seen, made.labels, trees=joined_trees, seed=seed, dense=dense, name="joint tree", **settings
        )
    alone = solve_trees(made.x, made.labels, trees=trees, seed=seed + joined_trees, name="word tree", **settings)
    names = ["base model", *(["joint trees"] if joined else []), "word trees"]
    model = HybridModel(first, made.text, joined, alone, embedding, Mixture.of(weights or [1.0] * len(names)))
    if side.labels[held].nnz:  # else there are weights
        found = model.rankings(side.texts[held], DEPTH, filter_of(side, held))
        model.mixture = Mixture.fit(found, model.parts, side.labels[held], weights)
    say("weights: " + ", ".join(f"{n} {w:.2f}" for n, w in zip(names, model.mixture.weights, strict=True)))
    return model


def _shortlists(first: Model, texts: Texts, k: int, labels: sp.csr_matrix) -> sp.csr_matrix:
    """The run's best k labels of each text: CSR of ones in the shape of `labels`, nothing for label texts."""
    import numpy as np
    import scipy.sparse as sp

    best = first.topk(texts, k).numpy()[0]
    there = best >= 0
    rows = np.repeat(np.arange(len(best)), k).reshape(best.shape)[there]
    return sp.csr_matrix((np.ones(len(rows), labels.dtype), (rows, best[there])), shape=labels.shape)
