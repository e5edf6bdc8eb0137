"""Linear models that several processes fit together are those of one, bit for bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from support.linear_ranks import problem, recipe_run, solved

from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.kernels.core import dispatch
from megalabel.kernels.linear.dual_descent import descend, descend_some
from megalabel.linear.over_ranks import even_borders


@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_children_that_are_fitted_alone_get_the_weights_that_they_get_together(rng, backend):
    x, labels = problem(5)
    x, labels = x[:120], labels[:120]
    texts = sp.random(4, x.shape[0], 0.5, format="csr", dtype=np.float32, random_state=rng)
    offsets = np.array([0, 19, 19, 24, 40])
    positives = labels.T.tocsr()[:40]
    with dispatch.use(backend):
        whole = descend(x, texts, offsets, positives)
        parts = [descend_some(range(a, b), x, texts, offsets, positives) for a, b in [(0, 16), (16, 21), (21, 40)]]
    assert (sp.vstack([part.sparse for part in parts]) != whole.sparse).nnz == 0
    assert descend_some(range(7, 7), x, texts, offsets, positives).sparse.shape == (0, x.shape[1] + 1)
    for bad in (range(3, 41), range(0, 10, 2)):
        with pytest.raises(SettingError, match="children"):
            descend_some(bad, x, texts, offsets, positives)


def test_work_is_divided_between_blocks_of_siblings(rng):
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 60, 30))])
    entries = rng.integers(0, 1000, 30)
    allowed = {0, int(offsets[-1])} | {child for a, b in pairwise(offsets) for child in range(a, b, 16)}
    for size in (1, 2, 7):
        borders = even_borders(offsets, entries, size)
        assert len(borders) == size + 1
        assert borders == sorted(borders)
        assert set(borders) <= allowed
    assert even_borders(np.array([0, 3]), np.array([5]), 4) == [0, 3, 3, 3, 3]


@pytest.mark.parametrize("block", [15000])
def test_processes_fit_the_trees_of_one(ranks, block):
    alone = solved(World(), block)
    found = ranks.run(3, "support.linear_ranks:solved", block)
    assert [one["trees"] for one in found[1:]] == [[], []]
    assert found[0]["trees"] == alone["trees"]
    assert [one["scores"].tolist() for one in found] == [alone["scores"].tolist()] * 3


def test_a_run_of_two_processes_writes_the_model_of_one(ranks, tmp_path):
    alone = recipe_run(World(), str(tmp_path / "one"))
    found = ranks.run(2, "support.linear_ranks:recipe_run", str(tmp_path / "two"))
    assert found == [alone, alone]
    again = ranks.run(2, "support.linear_ranks:recipe_run", str(tmp_path / "two"))
    assert again == [alone, alone]


def test_recipes_that_one_process_solves_are_refused_in_a_job_of_several(ranks, tmp_path):
    found = ranks.run(2, "support.linear_ranks:refused", str(tmp_path / "run"))
    assert all("retrieval in a job of 2 processes" in message for message in found)
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_processes_with_other_data_are_told_so(ranks):
    found = ranks.run(2, "support.linear_ranks:with_other_data")
    assert all("other features" in message for message in found)
