"""Texts below each node, against a loop."""

import numpy as np
import scipy.sparse as sp

from megalabel.labels.counts import texts_with
from megalabel.labels.tree import LabelTree


def test_a_text_counts_once_for_a_cluster_with_several_of_its_labels():
    tree = LabelTree((np.array([0, 1, 3]), np.array([0, 2, 3, 5])), np.array([4, 0, 1, 3, 2]))
    labels = sp.csr_matrix(np.array([[1, 1, 0, 0, 1], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0]]))
    coarse, fine, single = texts_with(tree, labels)
    assert single.tolist() == [1, 1, 2, 2, 1]  # labels 4, 0, 1, 3, 2
    assert fine.tolist() == [1, 2, 2]
    assert coarse.tolist() == [1, 3]
