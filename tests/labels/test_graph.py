import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.labels.graph import label_graph, normalized, smoothed


def test_normalization_divides_by_the_roots_of_row_and_column_sums(rng):
    counts = rng.integers(0, 4, (7, 7)).astype(np.float32)
    counts[2] = 0  # a label without texts
    counts[:, 2] = 0
    left, right = counts.sum(axis=1, keepdims=True), counts.sum(axis=0, keepdims=True)
    wanted = counts / np.sqrt(np.maximum(left, 1e-30)) / np.sqrt(np.maximum(right, 1e-30))
    matrix = sp.csr_matrix(counts)
    found = normalized(matrix)
    np.testing.assert_allclose(found.toarray(), wanted, rtol=1e-5)
    assert found.dtype == np.float32
    assert (matrix.toarray() == counts).all()


def test_smoothing_is_a_product_cut_to_the_largest(rng):
    graph = np.maximum(rng.random((6, 6)) - 0.4, 0).astype(np.float32)
    features = np.maximum(rng.random((6, 9)) - 0.3, 0).astype(np.float32)
    graph[4] = 0
    found = smoothed(sp.csr_matrix(graph), sp.csr_matrix(features), 4).toarray()
    whole = graph @ features
    alone = ~graph.any(axis=1)
    whole[alone] = features[alone]  # they keep their own
    assert alone[4]
    for row, wanted in zip(found, whole, strict=True):
        largest = np.argsort(-wanted, kind="stable")[:4]
        cut = np.zeros_like(wanted)
        cut[largest] = wanted[largest]
        np.testing.assert_allclose(row, cut, rtol=1e-5)


def test_the_graph_links_labels_that_share_texts():
    labels = sp.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], dtype=np.float32))
    graph = label_graph(labels, seed=3).toarray()
    assert graph[0, 1] > 0
    assert graph[1, 0] > 0
    assert graph[0, 2] == graph[2, 0] == 0
    assert graph[2, 2] == pytest.approx(1)
    assert (graph[3] == 0).all()  # no texts
    assert (label_graph(labels, seed=3).toarray() == graph).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"walk_length": 0},
        {"restart_probability": -0.1},
        {"restart_probability": 1.5},
        {"restart_probability": float("nan")},
        {"top_k": 0},
    ],
)
def test_numbers_out_of_range_are_refused_by_name(bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        label_graph(sp.csr_matrix(np.eye(3, dtype=np.float32)), **bad)
