"""The label graph of labels that occur together, made by random walks, and features smoothed along it.

The walk with restart is that of ECLARE (Mittal et al., "ECLARE: Extreme Classification with Label Graph
Correlations", WWW 2021), as CascadeXML uses it (Kharbanda et al., NeurIPS 2022, arXiv 2211.00640): from a label
to a random text of the label, and from the text to a random label of the text. A label with few texts thereby
receives the words of labels that occur with it, and lies near them in the tree.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.kernels.clustering.label_walks import walk_counts
from megalabel.kernels.sparse.sparse_rows import product_keep_largest


def label_graph(
    labels: sp.csr_matrix,
    *,
    walk_length: int = 400,
    restart_probability: float = 0.8,
    top_k: int = 10,
    seed: int = 0,
) -> sp.csr_matrix:
    """Builds the graph A of the labels from the visits of random walks, normalized on both sides.

    Args:
        labels: (N, L) CSR of ones.
        walk_length: the number of steps of the walk from each label.
        restart_probability: the probability that a step starts at the label again; 0.8 makes short walks.
        top_k: the number of neighbors kept per label, besides the label itself.
        seed: seeds the walks.

    Returns:
        (L, L) float32 CSR; a label without texts has an empty row.

    Raises:
        SettingError: a number is out of its range.
    """
    check_graph(walk_length, restart_probability, top_k)
    return normalized(
        walk_counts(
            labels, walk_length=walk_length, restart_probability=restart_probability, top_k=top_k, seed=seed
        )
    )


def check_graph(walk_length: int, restart_probability: float, top_k: int) -> None:
    """Raises SettingError for a number out of its range; see `label_graph`."""
    if walk_length < 1:
        raise SettingError.range("walk_length", walk_length, 1, integer=True)
    if not 0 <= restart_probability <= 1:
        raise SettingError.range("restart_probability", restart_probability, 0, 1)
    if top_k < 1:
        raise SettingError.range("graph_top_k", top_k, 1, integer=True)


def normalized(counts: sp.csr_matrix) -> sp.csr_matrix:
    """D_r^(-1/2) A D_c^(-1/2), where D_r and D_c are the sums of rows and columns: (L, L) float32 CSR."""
    graph = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    row_sums, column_sums = (np.asarray(graph.sum(axis=axis, dtype=np.float64)).ravel() for axis in (1, 0))
    left, right = (
        np.divide(1.0, np.sqrt(sums), out=np.zeros_like(sums), where=sums > 0).astype(np.float32)
        for sums in (row_sums, column_sums)
    )
    graph.data *= np.repeat(left, np.diff(graph.indptr)) * right[graph.indices]
    return graph


def smoothed(graph: sp.csr_matrix, features: sp.csr_matrix, top_k: int) -> sp.csr_matrix:
    """A Φ with the `top_k` largest entries of each row: (L, V) float32 CSR.

    A label with an empty row in the graph keeps its features.
    """
    isolated = (np.diff(graph.indptr) == 0).astype(np.float32)
    return product_keep_largest(sp.csr_matrix(graph + sp.diags(isolated, format="csr")), features, top_k)
