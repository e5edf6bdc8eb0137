"""Linear classifiers of labels that are added to a trained model, from a few examples each.

The classifier of an added label is trained on its examples and its label text as positives. Negatives are the
examples of the labels that are added with it, and some texts of any kind. These are far fewer than the negatives
of a training, and added labels would score too high; therefore the loss of a negative counts four times that of
a positive, and the C of both together is about that of the training. Measured in
docs/notes/0038-labels-that-come-and-go.md.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.linear.dual_descent import Stop, descend
from megalabel.linear.update import FINE, MAX_ITER, SHARE, added_to, scores_of

GROUP = 64  # labels that share their negatives
OTHERS = 2048  # examples of labels of other groups among the negatives of a group
POSITIVE, NEGATIVE = 0.5, 2.0  # factors of C
ALONE = 4.0  # the weight of a label text that is the only positive of its label
PRUNE_BELOW = 0.1
PASSES = 4  # of the solver over the examples


def added_classifiers(
    x: sp.csr_matrix, owners: np.ndarray, texts: sp.csr_matrix, n: int, c: float, *, seed: int = 0
) -> sp.csr_matrix:
    """Fits the classifiers of n added labels.

    Args:
        x: (P, V) CSR float32, the features of the label texts, in the order of the labels, and of examples.
        owners: (P,) int64 from 0 to n − 1, the label of each of these.
        texts: (M, V) CSR float32, further texts, all of them negatives.
        n: the number of added labels.
        c: C of the training.
        seed: seeds the choice of negatives and the order of the texts.

    Returns:
        (n, V + 1) CSR float32, the weights, the bias last.
    """
    random, n_groups = np.random.default_rng(seed), -(-n // GROUP)
    shared = np.arange(x.shape[0], x.shape[0] + texts.shape[0])
    rows = [np.append(_rows_of_group(owners // GROUP, group, random), shared) for group in range(n_groups)]
    every = sp.vstack([x, texts], format="csr").astype(np.float32)
    weights = np.ones(every.shape[0])
    weights[: len(owners)][np.bincount(owners, minlength=n)[owners] == 1] = ALONE
    return descend(
        every,
        _ones(np.repeat(np.arange(n_groups), [len(own) for own in rows]), np.concatenate(rows), every.shape[0]),
        np.minimum(np.arange(n_groups + 1) * GROUP, n),
        _ones(owners, np.arange(len(owners)), every.shape[0]),
        weights=weights,
        c=(POSITIVE * c, NEGATIVE * c),
        stop=Stop(max_iter=PASSES),
    ).sparse


def updated_classifiers(
    weights: sp.csr_matrix, x: sp.csr_matrix, labels: sp.csr_matrix, factors: np.ndarray | None, c: float
) -> sp.csr_matrix:
    """The classifiers of added labels after they have learned further texts, as `updated_tree` does.

    Args:
        weights: (n, V + 1) CSR, the bias last.
        x: (N, V) CSR float32, one row per text.
        labels: (N, n) CSR, above 0 where a text has an added label.
        factors: (N,) above 0, the weight of each text; None for 1 each.
        c: C of the training.
    """
    parts, everyone = [], sp.csr_matrix(np.ones((1, x.shape[0]), np.float32))
    positives = labels.T.tocsr().astype(np.float32)
    for start in range(0, weights.shape[0], GROUP):  # scores are dense: texts × labels of a group
        old = weights[start : start + GROUP]
        offsets = np.array([0, old.shape[0]])
        scores = scores_of(old, None, x, None, everyone, offsets)
        found = descend(
            x, everyone, offsets, positives[start : start + GROUP], weights=factors, scores=scores, c=SHARE * c,
            bias=0.0, stop=Stop(max_iter=MAX_ITER), prune_below=FINE * PRUNE_BELOW,
        )  # fmt: skip
        parts.append(added_to(old, found.sparse, PRUNE_BELOW))
    return sp.vstack(parts, format="csr")


def _ones(rows: np.ndarray, columns: np.ndarray, width: int) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(int(rows.max()) + 1, width))


def _rows_of_group(groups: np.ndarray, group: int, random: np.random.Generator) -> np.ndarray:
    """The rows of a group, and some of those of others, ascending."""
    others = random.permutation(np.flatnonzero(groups != group))[:OTHERS]
    found: np.ndarray = np.sort(np.concatenate([np.flatnonzero(groups == group), others]))
    return found
