"""The first connections by a label's texts, against loops in float64."""

from __future__ import annotations

import pytest
import torch

from megalabel.errors import DataError, SettingError
from megalabel.kernels.fan_in import strongest_inputs as module
from megalabel.kernels.fan_in.strongest_inputs import strongest_inputs
from megalabel.types import Positives


def case(n_texts: int = 40, n_labels: int = 50, dim: int = 12) -> tuple[torch.Tensor, Positives]:
    generator = torch.Generator().manual_seed(5)
    labels = [torch.randperm(n_labels - 4, generator=generator)[:3] + 1 for _ in range(n_texts)]
    rows = torch.arange(n_texts).repeat_interleave(3)
    return torch.randn(n_texts, dim, generator=generator), Positives.from_pairs(rows, torch.cat(labels))


def in_loops(
    x: torch.Tensor, positives: Positives, n_labels: int, fan_in: int, group: int
) -> list[list[int] | None]:
    """The inputs of each group, None for one without texts."""
    x, answers = x.double(), []
    for first in range(0, n_labels, group):
        strength, known = torch.zeros(x.shape[1], dtype=torch.float64), False
        for label in range(first, min(first + group, n_labels)):
            rows = positives.rows[positives.labels == label]
            known |= len(rows) > 0
            strength += (x[rows] - x.mean(0)).sum(0) ** 2
        answers.append(sorted(strength.argsort(descending=True)[:fan_in].tolist()) if known else None)
    return answers


@pytest.mark.parametrize("group", [1, 16, 32])
@pytest.mark.parametrize("fan_in", [1, 5, 12])
def test_is_the_definition(group, fan_in, monkeypatch):
    monkeypatch.setattr(module, "_LABELS", 17)
    x, positives = case()
    found = strongest_inputs(x, positives, 50, fan_in, group=group)
    expected = in_loops(x, positives, 50, fan_in, group)
    assert found.dtype == torch.uint8
    assert found.shape == (-(-50 // group), fan_in)
    assert any(row is not None for row in expected)
    for row, wanted in zip(found.tolist(), expected, strict=True):
        assert wanted is None or row == wanted
        assert len(set(row)) == fan_in


def test_labels_without_texts_get_random_inputs_by_the_seed():
    x, positives = case()
    one, two = (strongest_inputs(x, positives, 50, 5, seed=seed) for seed in (1, 2))
    assert torch.equal(one, strongest_inputs(x, positives, 50, 5, seed=1))
    known = torch.zeros(50, dtype=torch.bool)
    known[positives.labels] = True
    assert torch.equal(one[known], two[known])
    assert not torch.equal(one[~known], two[~known])


def test_no_pair_at_all_is_random():
    nothing = torch.empty(0, dtype=torch.int64)
    assert strongest_inputs(torch.ones(3, 300), Positives.from_pairs(nothing, nothing), 4, 7).dtype == torch.int16


@pytest.mark.parametrize(
    ("x", "rows", "labels", "fan_in", "error", "match"),
    [
        (torch.ones(0, 4), [], [], 2, SettingError, "at least one text"),
        (torch.tensor([[1.0, float("nan")]]), [0], [0], 1, SettingError, "NaN"),
        (torch.ones(2, 4), [2], [0], 2, DataError, "row 2"),
        (torch.ones(2, 4), [0], [5], 2, DataError, "label 5"),
        (torch.ones(2, 4), [0], [-1], 2, DataError, "label -1"),
        (torch.ones(2, 4), [0], [0], 5, SettingError, "fan-in of 5"),
    ],
)
def test_bad_input(x, rows, labels, fan_in, error, match):
    positives = Positives.from_pairs(
        torch.tensor(rows, dtype=torch.int64), torch.tensor(labels, dtype=torch.int64)
    )
    with pytest.raises(error, match=match):
        strongest_inputs(x, positives, 5, fan_in)
