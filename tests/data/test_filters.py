"""Filter pairs: those of some rows of a side, and those of a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted

from megalabel.data.filters import by_row, excluded, filter_of
from megalabel.errors import SettingError

PAIRS = np.array([[4, 2], [1, 7], [4, 3], [5, 0]])


def test_the_filter_of_some_rows_has_their_places():
    split = replace(planted(n_texts=6).train, filter=PAIRS)
    assert filter_of(split, np.array([0, 4, 5])).tolist() == [[1, 2], [1, 3], [2, 0]]
    assert filter_of(split, np.array([5, 4])).tolist() == [[1, 2], [1, 3], [0, 0]]
    assert filter_of(split, np.array([0])).shape == filter_of(split, np.arange(0)).shape == (0, 2)
    assert filter_of(planted(n_texts=6).train, np.array([0])) is None


def test_pairs_of_a_batch_are_counted_within_it():
    found = excluded(by_row(PAIRS, 6), np.array([5, 0, 4]), torch.device("cpu"))
    assert sorted(zip(found.rows.tolist(), found.labels.tolist(), strict=True)) == [(0, 0), (2, 2), (2, 3)]
    assert len(excluded(by_row(PAIRS, 6), np.arange(0), torch.device("cpu")).rows) == 0


@pytest.mark.parametrize(
    "nothing", [None, [], np.empty(0), np.empty((0, 2), np.int64)], ids=["", "[]", "0", "0 2"]
)
def test_no_pairs_are_none(nothing):
    assert by_row(nothing, 3) is None
    assert excluded(None, np.arange(3), torch.device("cpu")) is None


@pytest.mark.parametrize(
    "bad", [[[3, 0]], [[-1, 0]], [[0, -1]], [[0.0, 1.0]], [[0, 1, 2]], [0, 1], [["a", "b"]], [[[]]]], ids=str
)
def test_pairs_that_are_none_are_refused(bad):
    with pytest.raises(SettingError, match=r"rows below 3"):
        by_row(np.array(bad), 3)
