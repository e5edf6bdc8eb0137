"""Fits several trees of linear classifiers on the same texts, which a linear model averages."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import scipy.sparse as sp

from megalabel.distributed.world import World
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.labels.cluster import check_depths, cluster
from megalabel.labels.features import pifa
from megalabel.labels.tree import LabelTree
from megalabel.linear.over_ranks import shared_trees
from megalabel.linear.tree import ALONE, solve_tree
from megalabel.phases import phase
from megalabel.progress import Progress

LEAF_LABELS = 128  # labels per leaf, approximately
MAX_SINGLE_DEPTH = 7  # up to this depth the leaves need no level above them


def solve_trees(
    x: sp.csr_matrix,
    labels: sp.csr_matrix,
    *,
    trees: int,
    depths: tuple[int, ...],
    cluster_features: int,
    seed: int,
    say: Callable[[str], Any],
    name: str = "tree",
    world: World = ALONE,
    **options: Any,
) -> list[SparseBeam]:
    """For each tree, clusters the labels by their texts and fits the classifiers.

    Several processes divide the work, with equal arguments: each clusters some of the trees, and fits some of the
    classifiers of each of them. The main process returns the trees, and the others none.

    Args:
        x: (N, V) CSR float32, one row per training text.
        labels: (N, L) CSR, above 0 where a text has a label.
        trees: the number of trees.
        depths: ascending; level i of a tree has 2^depths[i] clusters.
        cluster_features: the number of features per label that the clustering uses.
        seed: tree i uses seed + i.
        say: a function that takes one line of text per tree.
        name: the name of a tree in these lines.
        world: the processes that divide the work.
        options: further arguments of `solve_tree`.
    """
    clustered = _clustered(x, labels, trees, depths, cluster_features, seed, world)
    beams = []
    for i, tree in enumerate(clustered):
        say(f"{name} {i + 1}: {' > '.join(f'{n:,}' for n in tree.sizes[:-1])} clusters > {tree.n_labels:,} labels")
        with phase(f"solving {name}s"):
            title = f"solving {name} {i + 1} of {trees}"
            beams.append(solve_tree(x, labels, tree, seed=seed + i, world=world, title=title, **options))
    return [beam for beam in beams if beam is not None]


@phase("clustering the labels")
def _clustered(
    x: sp.csr_matrix,
    labels: sp.csr_matrix,
    trees: int,
    depths: tuple[int, ...],
    cluster_features: int,
    seed: int,
    world: World,
) -> list[LabelTree]:
    """The label trees; the features of the labels may be as large as the weights of a tree, and go afterwards."""
    with Progress("clustering the labels", trees) as shown:
        features = pifa(labels, x, cluster_features)

        def one(i: int) -> LabelTree:
            tree = cluster(features, depths, seed=seed + i)
            shown.advance()
            return tree

        return shared_trees([partial(one, i) for i in range(trees)], world)


def chosen_depths(depths: tuple[int, ...], n_labels: int) -> tuple[int, ...]:
    """Returns the given depths after a check, or those of `wide_depths` if none are given."""
    return check_depths(depths, n_labels) if depths else wide_depths(n_labels)


def wide_depths(n_labels: int, leaf_labels: int = LEAF_LABELS) -> tuple[int, ...]:
    """Chooses depths with leaves of about 128 labels, or of another number.

    Above more than 128 leaves there is a level of half the depth. Such wide and shallow trees are those of
    Bonsai (Khandagale, Xiao and Babbar, Machine Learning 2020). On the validation split of wordnet-4k they are
    two to three points of P@1 better than leaves of 16 labels (docs/log.md), and the solver is fast enough for
    wide leaves.
    """
    leaves = max(1, round(math.log2(max(n_labels, 2) / leaf_labels)))
    return (leaves,) if leaves <= MAX_SINGLE_DEPTH else (leaves // 2, leaves)
