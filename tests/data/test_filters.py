"""Filter pairs: those of some rows of a side, and those of a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted

from megalabel.data.filters import FilterPairs, filter_of
from megalabel.errors import SettingError

CPU = torch.device("cpu")
PAIRS = np.array([[4, 2], [1, 7], [4, 3], [5, 0]])


def test_the_filter_of_some_rows_has_their_places():
    split = replace(planted(n_texts=6).train, filter=PAIRS)
    assert filter_of(split, np.array([0, 4, 5])).tolist() == [[1, 2], [1, 3], [2, 0]]
    assert filter_of(split, np.array([5, 4])).tolist() == [[1, 2], [1, 3], [0, 0]]
    assert filter_of(split, np.array([0])).shape == filter_of(split, np.arange(0)).shape == (0, 2)
    assert filter_of(planted(n_texts=6).train, np.array([0])) is None


def test_pairs_of_a_batch_are_counted_within_it():
    pairs = FilterPairs(PAIRS, 6)
    assert len(pairs) == 4
    found = pairs.for_rows(np.array([5, 0, 4]), CPU)
    assert sorted(zip(found.rows.tolist(), found.labels.tolist(), strict=True)) == [(0, 0), (2, 2), (2, 3)]
    for rows in (np.arange(0), np.array([0, 2])):
        assert len(pairs.for_rows(rows, CPU).rows) == 0


def test_pairs_of_a_block_are_counted_from_its_first_row():
    pairs = FilterPairs(PAIRS, 6)
    assert pairs.block(3, 6).tolist() == [[1, 2], [1, 3], [2, 0]]
    assert pairs.block(0, 6).tolist() == [[1, 7], [4, 2], [4, 3], [5, 0]]
    assert pairs.block(2, 4).shape == pairs.block(3, 3).shape == (0, 2)


@pytest.mark.parametrize(
    "nothing", [None, [], np.empty(0), np.empty((0, 2), np.int64)], ids=["", "[]", "0", "0 2"]
)
def test_no_pairs_are_none(nothing):
    pairs = FilterPairs(nothing, 3)
    assert pairs.for_rows(np.arange(3), CPU) is None and pairs.block(0, 3) is None


@pytest.mark.parametrize(
    "bad", [[[3, 0]], [[-1, 0]], [[0, -1]], [[0.0, 1.0]], [[0, 1, 2]], [0, 1], [["a", "b"]], [[[]]]], ids=str
)
def test_pairs_that_are_none_are_refused(bad):
    with pytest.raises(SettingError, match=r"rows below 3"):
        FilterPairs(np.array(bad), 3)
