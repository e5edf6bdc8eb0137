import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.metrics.ranking import measure
from megalabel.types import TopK

TRUTH = sp.csr_matrix(np.array([[1, 0, 0], [0, 1, 1]], np.float32))
TOP = TopK(np.array([[0, 1], [1, 0]]), np.array([[2.0, 1.0], [2.0, 1.0]], np.float32))


def test_labels_that_training_never_saw_cannot_be_found():
    without, with_unseen = (measure(TOP, TRUTH, k=2, n_true=n) for n in (None, np.array([2, 2])))
    assert without["R@2"] == pytest.approx(100 * (1 / 1 + 1 / 2) / 2)
    assert with_unseen["R@2"] == pytest.approx(100 * (1 / 2 + 1 / 2) / 2)
    ideal = 1 + 1 / np.log2(3)
    assert without["nDCG@2"] == pytest.approx(100 * (1 + 1 / ideal) / 2)
    assert with_unseen["nDCG@2"] == pytest.approx(100 * (1 / ideal + 1 / ideal) / 2)
    assert with_unseen["P@2"] == without["P@2"] == 50


@pytest.mark.parametrize("wrong", [np.array([1]), np.array([1, 1])])
def test_counts_that_do_not_fit_are_refused(wrong):
    with pytest.raises(DataError, match="n_true"):
        measure(TOP, TRUTH, k=2, n_true=wrong)
