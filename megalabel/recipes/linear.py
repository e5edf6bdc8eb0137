"""Linear models over words and word pairs, told apart down several label trees: seconds on a laptop, no encoder.

Prabhu, Kag, Harsola, Agrawal and Varma, "Parabel", WWW 2018, and XR-Linear (Yu, Zhong, Zhang, Chang and Dhillon,
"PECOS", JMLR 2022). Labels are clustered by the texts that have them; each cluster and label gets a linear model
of the squared hinge with an L2 penalty, trained on the texts of its parent alone; weights near 0 are dropped. A
text goes down the tree by beam search, and the probabilities of several trees are averaged. Wide, shallow trees
are Bonsai's (Khandagale, Xiao and Babbar, Machine Learning 2020). A data set of bags of words is learnt from as it
is, its rows brought to length 1. Beyond these papers, label texts can be rows too, as Renée has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from megalabel.training.recipe import Say, Solved, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.inputs.sparse_text import SparseText
    from megalabel.inputs.words import TokenPattern
    from megalabel.models.base import Ranker


@recipe
def linear(
    data: Corpus,
    *,
    split: str = "letters",
    word_pairs: bool = True,
    pieces: bool = False,
    piece_words: int = 0,
    vocabulary: int = 1_000_000,
    min_texts: int = 1,
    label_rows: str = "auto",
    trees: int = 3,
    depths: tuple[int, ...] = (),
    keep: int = 1000,
    cost: float = 1.0,
    eps: float = 0.1,
    rounds: int = 20,
    threshold: float = 0.1,
    beam: int = 10,
    chance: str = "l3-hinge",
    validation: float = 0.0,
    seed: int = 0,
) -> Solved:
    """Linear models over words and word pairs, told apart down several label trees.

    Args:
        data: texts and label sets, or bags of words and label sets; of these, rows are brought to length 1, and
            split, word_pairs, pieces, piece_words, vocabulary, min_texts and label_rows have no meaning.
        split: into words alone (letters), words and signs (words) or runs of signs (signs), or at blanks alone
            (symbols), for formulae.
        word_pairs: pairs of neighbouring words are features too.
        pieces: pieces of words of 3 to 5 letters are features too, for names, typing errors, long compounds.
        piece_words: pieces only where the median text has at most so many words, as they take time; 0 for any.
        vocabulary: most features, those of most texts first.
        min_texts: in how many texts a feature must stand.
        label_rows: train on the label texts as further rows: yes, no, or auto, which looks whether training texts
            that are very like a label's text have that label.
        trees: how many trees are averaged.
        depths: rising; level i of a tree has 2^depths[i] clusters. Empty: what suits the number of labels.
        keep: features of a label by which it is clustered.
        cost: what a unit of squared loss costs beside the regularisation.
        eps: how near to its optimum a model is solved; 0.1 is LIBLINEAR's.
        rounds: at most so many over a model's texts.
        threshold: weights below it in absolute value are dropped.
        beam: clusters of each level that a prediction keeps.
        chance: how a score becomes a probability: l3-hinge (PECOS), l2-hinge, or sigmoid.
        validation: share of the training texts left out, to choose values by; nothing here needs it.
        seed: of the trees and the solver's order; of tree i, seed + i.
    """
    from megalabel.inputs.bag_of_words import BagOfWords, check_text_settings_unused, model_inputs
    from megalabel.inputs.batches import hold_out
    from megalabel.inputs.words import check_has_words
    from megalabel.linear.forest import chosen_depths, solve_trees
    from megalabel.linear.training_rows import WordFeatureOptions
    from megalabel.models.linear import LinearModel

    words = WordFeatureOptions(
        cast("TokenPattern", split), word_pairs, pieces, piece_words, vocabulary, min_texts, label_rows
    )
    bags = None
    if data.train.features is None:
        check_has_words(data.train.texts, words.token_pattern)
    else:
        check_text_settings_unused(
            linear, split=split, word_pairs=word_pairs, pieces=pieces, piece_words=piece_words,
            vocabulary=vocabulary, min_texts=min_texts, label_rows=label_rows,
        )  # fmt: skip
        bags = BagOfWords.from_rows(data.train.features)
    chosen = chosen_depths(depths, data.n_labels)
    kept, _ = hold_out(len(data.train), validation, seed)

    def solve(say: Say) -> Ranker:
        labels = data.train.labels[kept]
        text: SparseText | BagOfWords
        if bags is None:
            made = words.rows(data.train.texts[kept], labels, data.label_texts, seed=seed, say=say)
            text, x, labels = made.text, made.x, made.labels
        else:
            text, x = bags, bags.transform(model_inputs(data.train, data, bags.size)[kept])
        beams = solve_trees(
            x, labels, trees=trees, depths=chosen, cluster_features=keep, seed=seed, say=say,
            cost=cost, eps=eps, rounds=rounds, threshold=threshold, beam=beam, scores=chance,
        )  # fmt: skip
        return LinearModel(text, beams, data.label_texts)

    return Solved(data, solve)
