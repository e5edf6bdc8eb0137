from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.labels.cluster import check_depths, choose_depths, cluster


@pytest.mark.parametrize(
    ("n_labels", "depths"),
    [
        (670_091, (10, 13, 16)),
        (501_070, (10, 13, 16)),
        (30_938, (9, 12)),
        (13_330, (11,)),
        (131_073, (11, 14)),
        (312_330, (9, 12, 15)),
        (1_305_265, (11, 14, 17)),
        (2_812_281, (9, 12, 15, 18)),
        (10_000_000, (11, 14, 17, 20)),
        (4_044, (9,)),
        (2, (1,)),
        (3, (1,)),
    ],
)
def test_depths_of_the_published_sets_and_others(n_labels, depths):
    assert choose_depths(n_labels) == depths


def test_the_rule_holds_for_every_size():
    for n in {*range(2, 3000), *(int(10 ** (i / 50)) for i in range(170, 351))}:
        depths = choose_depths(n)
        assert 1 <= len(depths) <= 4
        assert check_depths(depths, n) == depths
        assert all(b - a == 3 for a, b in pairwise(depths))
        assert len(depths) == 4 or depths[0] <= 11
        if n >= 12:
            assert 8 / 2**0.5 <= n / 2 ** depths[-1] <= 8 * 2**0.5


@pytest.mark.parametrize("n_labels", [0, 1])
def test_a_tree_over_one_label_is_refused(n_labels):
    with pytest.raises(SettingError, match="at least 2 labels"):
        choose_depths(n_labels)


@pytest.mark.parametrize("depths", [(), (0,), (0, 3), (3, 3), (4, 3), (3, 31), (-1,), (2.5,), (3.0,), ("3",)])
def test_depths_that_do_not_rise_or_fit_are_refused(depths):
    with pytest.raises(SettingError, match="such as 6"):
        check_depths(depths, 500)


def test_more_clusters_than_labels_on_the_coarsest_level_are_refused():
    assert check_depths([9, 12], 512) == (9, 12)
    with pytest.raises(SettingError, match="512 clusters on the coarsest level of 511 labels"):
        check_depths([9, 12], 511)


def grouped(n_groups, of_each, rng):
    """Labels of groups with a column each, shuffled, and the group of each label."""
    groups = rng.permutation(np.repeat(np.arange(n_groups), of_each))
    n = len(groups)
    noise = sp.csr_matrix(rng.random((n, 40)) * (rng.random((n, 40)) < 0.02))
    own = sp.csr_matrix((np.ones(n), (np.arange(n), groups)), shape=(n, n_groups))
    return sp.hstack([own, noise * 0.2], format="csr").astype(np.float32), groups


def test_clusters_are_the_planted_groups():
    features, groups = grouped(8, 16, np.random.default_rng(3))
    tree = cluster(sp.csr_matrix(features), (1, 3), seed=5)
    assert tree.sizes == (2, 8, 128)
    for leaf in np.split(tree.order, tree.offsets[-1][1:-1]):
        assert len(set(groups[leaf].tolist())) == 1


def test_leaves_are_ragged_where_labels_do_not_divide_and_single_where_they_are_few(rng):
    features, _ = grouped(1, 11, rng)
    tree = cluster(sp.csr_matrix(features), (2, 6))
    assert tree.sizes == (4, 11, 11)
    assert sorted(np.diff(tree.offsets[0]).tolist()) == [2, 3, 3, 3]
    assert (np.diff(tree.offsets[1]) == 1).all()


def test_labels_without_features_get_a_place(rng):
    features, _ = grouped(4, 8, rng)
    features = sp.vstack([sp.csr_matrix((5, features.shape[1])), features[5:]], format="csr").astype(np.float32)
    tree = cluster(sp.csr_matrix(features), (2,), seed=1)
    assert np.diff(tree.offsets[0]).tolist() == [8, 8, 8, 8]
    assert tree == cluster(sp.csr_matrix(features), (2,), seed=1)
