"""Linear models over words and word pairs, told apart down several label trees: seconds on a laptop, no encoder.

Prabhu, Kag, Harsola, Agrawal and Varma, "Parabel", WWW 2018, and XR-Linear (Yu, Zhong, Zhang, Chang and Dhillon,
"PECOS", JMLR 2022). Labels are clustered by the texts that have them; each cluster and label gets a linear model
of the squared hinge with an L2 penalty, trained on the texts of its parent alone; weights near 0 are dropped. A
text goes down the tree by beam search, and the probabilities of several trees are averaged. Wide, shallow trees
are Bonsai's (Khandagale, Xiao and Babbar, Machine Learning 2020). A data set of bags of words is learnt from as it
is, its rows brought to length 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from megalabel.training.recipe import Say, Solved, recipe

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.data.words import Kind
    from megalabel.ranker import Ranker


@recipe
def linear(
    data: Corpus,
    *,
    split: str = "letters",
    word_pairs: bool = True,
    pieces: bool = False,
    vocabulary: int = 1_000_000,
    min_texts: int = 1,
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
            split, word_pairs, pieces, vocabulary and min_texts have no meaning.
        split: into words alone (letters), words and signs (words) or runs of signs (signs), or at blanks alone
            (symbols), for formulae.
        word_pairs: pairs of neighbouring words are features too.
        pieces: pieces of words of 3 to 5 letters are features too, for names, typing errors, long compounds.
        vocabulary: most features, those of most texts first.
        min_texts: in how many texts a feature must stand.
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
    from megalabel.data.bags import Bags, given, refuse_text_settings
    from megalabel.data.batches import hold_out
    from megalabel.data.sparse_text import SparseText
    from megalabel.data.words import check_words
    from megalabel.heads.linear import solve_tree
    from megalabel.labels.cluster import check_depths, cluster
    from megalabel.labels.features import pifa
    from megalabel.linear_model import LinearModel

    bags = None
    if data.train.features is None:
        check_words(data.train.texts, cast("Kind", split))
    else:
        refuse_text_settings(
            linear, split=split, word_pairs=word_pairs, pieces=pieces, vocabulary=vocabulary, min_texts=min_texts
        )
        bags = Bags.of(data.train.features)
    chosen = check_depths(depths, data.n_labels) if depths else wide_depths(data.n_labels)
    kept, _ = hold_out(len(data.train), validation, seed)

    how: dict[str, Any] = {
        "cost": cost, "eps": eps, "rounds": rounds, "threshold": threshold, "beam": beam, "scores": chance,
    }  # fmt: skip

    def solve(say: Say) -> Ranker:
        labels = data.train.labels[kept]
        texts = given(data.train, data, None if bags is None else bags.size)[kept]
        text = bags or SparseText.learn(
            texts, vocabulary=vocabulary, min_texts=min_texts, kind=cast("Kind", split), pairs=word_pairs,
            pieces=(3, 5) if pieces else None,
        )  # fmt: skip
        x = text.transform(texts)
        say(f"features  {text.size:,} of {x.shape[0]:,} texts, {x.nnz:,} weights")
        features = pifa(labels, x, keep)
        beams = []
        for i in range(trees):
            tree = cluster(features, chosen, seed=seed + i)
            say(f"tree {i + 1}    " + " > ".join(f"{n:,}" for n in tree.sizes))
            beams.append(solve_tree(x, labels, tree, seed=seed + i, **how))
        return LinearModel(text, beams, data.label_texts)

    return Solved(data, solve)


def wide_depths(n_labels: int) -> tuple[int, ...]:
    """Leaves of about 128 labels, and above more than 128 of them a level of half the depth.

    Wide and shallow, as Bonsai has them: on the validation split of wordnet-4k better by two to three points of
    P@1 than leaves of 16 (docs/log.md), and the solver is fast enough for wide leaves.
    """
    leaves = max(1, round(math.log2(max(n_labels, 2) / 128)))
    return (leaves,) if leaves <= 7 else (leaves // 2, leaves)
