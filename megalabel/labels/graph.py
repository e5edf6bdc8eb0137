"""The label graph: which labels are met together, by random walks, and features smoothed along it.

ECLARE's walk with restart (Mittal et al., "ECLARE: Extreme Classification with Label Graph Correlations", WWW
2021), as CascadeXML uses it (Kharbanda et al., NeurIPS 2022, arXiv 2211.00640): from a label to a random text of
it, from the text to a random label of it. A label of few texts so gets the words of labels that are met beside
it, and lies near them in the tree.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.kernels.clustering.label_walks import walk_counts
from megalabel.kernels.sparse.sparse_rows import product_keep_largest


def label_graph(
    labels: sp.csr_matrix, *, hops: int = 400, p_reset: float = 0.8, neighbours: int = 10, seed: int = 0
) -> sp.csr_matrix:
    """The graph A of the labels, (L, L) float32 CSR: visits of walks, normalised on both sides.

    Args:
        labels: (N, L) CSR of ones.
        hops: how many hops each label's walk has.
        p_reset: how likely a hop starts at the label itself again: 0.8 makes short walks.
        neighbours: how many labels are kept in each row, beside the label itself.
        seed: of the walks.

    A label without texts has an empty row.

    Raises:
        SettingError: a number out of its range.
    """
    check_graph(hops, p_reset, neighbours)
    return normalised(walk_counts(labels, hops=hops, p_reset=p_reset, top=neighbours, seed=seed))


def check_graph(hops: int, p_reset: float, neighbours: int) -> None:
    """SettingError for a number out of its range; see `label_graph`."""
    for name, value, fits, wanted in (
        ("hops", hops, hops >= 1, "1 or more"),
        ("p_reset", p_reset, 0 <= p_reset <= 1, "from 0 to 1"),
        ("neighbours", neighbours, neighbours >= 1, "1 or more"),
    ):
        if not fits:
            raise SettingError(f"{name} = {value}", wanted=wanted, next_step=f"leave {name} out")


def normalised(counts: sp.csr_matrix) -> sp.csr_matrix:
    """D_r^(-1/2) A D_c^(-1/2), with D_r and D_c the sums of the rows and of the columns: (L, L) float32 CSR."""
    graph = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    of_rows, of_columns = (np.asarray(graph.sum(axis=axis, dtype=np.float64)).ravel() for axis in (1, 0))
    left, right = (
        np.divide(1.0, np.sqrt(sums), out=np.zeros_like(sums), where=sums > 0).astype(np.float32)
        for sums in (of_rows, of_columns)
    )
    graph.data *= np.repeat(left, np.diff(graph.indptr)) * right[graph.indices]
    return graph


def smoothed(graph: sp.csr_matrix, features: sp.csr_matrix, keep: int) -> sp.csr_matrix:
    """A Φ with the `keep` largest entries of each row: (L, V) float32 CSR.

    A label with an empty row in the graph keeps its own features.
    """
    alone = (np.diff(graph.indptr) == 0).astype(np.float32)
    return product_keep_largest(sp.csr_matrix(graph + sp.diags(alone, format="csr")), features, keep)
