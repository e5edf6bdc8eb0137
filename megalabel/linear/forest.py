"""Several trees of linear models over the same texts: what a linear model averages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import scipy.sparse as sp

from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.labels.cluster import check_depths, cluster
from megalabel.labels.features import pifa
from megalabel.linear.tree import solve_tree

LEAF = 128  # labels
LEAVES = 7  # depth up to which the leaves need no level above them


def solve_trees(
    x: sp.csr_matrix,
    labels: sp.csr_matrix,
    *,
    trees: int,
    depths: tuple[int, ...],
    keep: int,
    seed: int,
    say: Callable[[str], Any],
    called: str = "tree",
    **how: Any,
) -> list[SparseBeam]:
    """Clusters the labels by their texts and solves the models, once a tree.

    Args:
        x: (N, V) CSR float32, a row a training text.
        labels: (N, L) CSR, above 0 where a text has a label.
        trees: how many.
        depths: rising; level i of a tree has 2^depths[i] clusters.
        keep: features of a label by which it is clustered.
        seed: of tree i, seed + i.
        say: is told of each tree, `called` so.
        how: further arguments of `solve_tree`.
    """
    features = pifa(labels, x, keep)
    grown = [cluster(features, depths, seed=seed + i) for i in range(trees)]
    del features  # which may be as large as a tree's weights
    beams = []
    for i, tree in enumerate(grown):
        say(f"{called} {i + 1}".ljust(10) + " > ".join(f"{n:,}" for n in tree.sizes))
        beams.append(solve_tree(x, labels, tree, seed=seed + i, **how))
    return beams


def chosen_depths(depths: tuple[int, ...], n_labels: int) -> tuple[int, ...]:
    """The user's depths, or wide ones where there are none; SettingError for what no tree can have."""
    return check_depths(depths, n_labels) if depths else wide_depths(n_labels)


def wide_depths(n_labels: int) -> tuple[int, ...]:
    """Leaves of about 128 labels, and above more than 128 of them a level of half the depth.

    Wide and shallow, as Bonsai has them: on the validation split of wordnet-4k better by two to three points of
    P@1 than leaves of 16 (docs/log.md), and the solver is fast enough for wide leaves.
    """
    leaves = max(1, round(math.log2(max(n_labels, 2) / LEAF)))
    return (leaves,) if leaves <= LEAVES else (leaves // 2, leaves)
