"""The value that says which rows are scored, and the factored gradient."""

from __future__ import annotations

import pytest
import torch
from support.candidate_cases import NONE, candidates_of, case, close, slow_bce

from megalabel.errors import DataError, SettingError
from megalabel.kernels.candidates.candidate_scores import candidate_bce
from megalabel.kernels.candidates.candidates import Candidates, TableGradient, positives_by_text
from megalabel.types import Positives


def test_rows_and_texts_of_cells(seed):
    c = case(seed)
    candidates = c.candidates
    cells = [(b, row) for b, own in enumerate(c.blocks) for start, end in own for row in range(start, end)]
    assert (
        list(zip(candidates.texts_of_cells().tolist(), candidates.rows_of_cells().tolist(), strict=True)) == cells
    )
    assert candidates.n_cells == len(cells)
    assert candidates.n_rows == max(row for _, row in cells) + 1
    assert candidates.batch == len(c.blocks)
    assert len(candidates) == sum(len(own) for own in c.blocks)
    sizes = [sum(end - start for start, end in own) for own in c.blocks]
    assert candidates.text_cells().diff().tolist() == sizes
    assert candidates.to("cpu").cells.tolist() == candidates.cells.tolist()


def test_all_rows_are_a_matrix():
    every = Candidates.all_rows(3, 4)
    assert every.rows_of_cells().view(3, 4).tolist() == [[0, 1, 2, 3]] * 3
    assert every.texts_of_cells().view(3, 4).tolist() == [[b] * 4 for b in range(3)]
    assert Candidates.all_rows(0, 4).n_cells == 0


def test_ids_are_blocks_of_one_row():
    candidates = Candidates.of_ids(torch.tensor([0, 2, 2, 3]), torch.tensor([4, 7, 4]))
    assert candidates.rows_of_cells().tolist() == [4, 7, 4]
    assert candidates.texts_of_cells().tolist() == [0, 0, 2]
    assert candidates.n_rows == 8


def test_nothing_at_all():
    for batch in (0, 3):
        none = candidates_of([[] for _ in range(batch)])
        assert (none.batch, none.n_cells, none.n_rows, len(none)) == (batch, 0, 0, 0)


GOOD = {"starts": [0, 4, 4], "ends": [2, 5, 5], "texts": [0, 2, 3], "cells": [0, 2, 3, 4]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"starts": [0, 4]}, "vectors"),
        ({"cells": [0, 2, 3]}, "vectors"),
        ({"texts": []}, "vectors"),
        ({"ends": [2, 4, 5], "cells": [0, 2, 2, 3]}, "without rows"),
        ({"ends": [2, 3, 5], "cells": [0, 2, 1, 2]}, "without rows"),
        ({"starts": [-1, 4, 4], "ends": [1, 5, 5]}, "starts at row -1"),
        ({"starts": [4, 0, 4], "ends": [5, 2, 5], "cells": [0, 1, 3, 4]}, "overlap or fall"),
        ({"starts": [0, 1, 4], "ends": [2, 2, 5]}, "overlap or fall"),
        ({"cells": [0, 2, 4, 5]}, "added up"),
        ({"cells": [1, 3, 4, 5]}, "added up"),
        ({"texts": [0, 2, 2]}, "not assigned"),
        ({"texts": [1, 2, 3]}, "not assigned"),
        ({"texts": [0, 3, 2, 3]}, "not assigned"),
        ({"texts": [0, 9, 3]}, "not assigned"),
    ],
)
def test_vectors_that_are_no_candidates(wrong, message):
    Candidates(**{name: torch.tensor(values) for name, values in GOOD.items()})
    with pytest.raises(SettingError, match=message):
        Candidates(**{name: torch.tensor(values, dtype=torch.int64) for name, values in (GOOD | wrong).items()})


def test_other_types_and_sizes_are_refused():
    with pytest.raises(SettingError, match="int64"):
        Candidates(**{name: torch.tensor(values, dtype=torch.int32) for name, values in GOOD.items()})
    for batch, rows in ((-1, 3), (2, 0)):
        with pytest.raises(SettingError, match="table of 1 or more rows"):
            Candidates.all_rows(batch, rows)


def test_positives_by_text():
    messy = Positives(torch.tensor([2, 0, 2, 2, 0]), torch.tensor([9, 1, 3, 9, 0]))
    offsets, rows = positives_by_text(messy, 4, 10)
    assert offsets.tolist() == [0, 2, 2, 4, 4]
    assert rows.tolist() == [0, 1, 3, 9]
    offsets, rows = positives_by_text(NONE, 4, 10)
    assert offsets.tolist() == [0] * 5
    assert len(rows) == 0


@pytest.mark.parametrize(
    ("pair", "what"), [((-1, 0), "text -1"), ((4, 0), "text 4"), ((0, -2), "row"), ((0, 10), "row")]
)
def test_positives_out_of_range(pair, what):
    with pytest.raises(DataError, match=what):
        positives_by_text(Positives(torch.tensor([pair[0]]), torch.tensor([pair[1]])), 4, 10)
    with pytest.raises(DataError, match="one length"):
        positives_by_text(Positives(torch.tensor([0, 1]), torch.tensor([1])), 4, 10)


def test_a_gradient_written_out(seed):
    c = case(seed)
    slow = slow_bce(c, 0.5)
    gradient = TableGradient(c.views, c.candidates, torch.from_numpy(slow.cells))
    weight, bias = gradient.dense(len(c.weight))
    close(weight, slow.weight)
    close(bias, slow.bias)
    assert gradient.scale_(2) is gradient
    close(gradient.dense(len(c.weight))[0], 2 * slow.weight)


def test_scaling_leaves_the_graph_alone(seed):
    c = case(seed)
    views, weight, bias = c.of(torch.float32)
    value, _, gradient = candidate_bce(views, weight, bias, c.candidates, c.positives, 1.0)
    gradient.scale_(0)
    value.backward()
    close(gradient.cells, slow_bce(c, 1.0).cells)
