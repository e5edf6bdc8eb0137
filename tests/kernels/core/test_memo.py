"""A value computed from tensors is kept until one of them changes, and no longer than they live."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch
from torch import Tensor

from megalabel.kernels.core import memo
from megalabel.kernels.core.memo import memo_on


@dataclass
class Counted:
    """Counts how often it has been computed."""

    calls: int = 0

    def __call__(self) -> int:
        self.calls += 1
        return self.calls


def test_it_is_computed_once() -> None:
    tensors, compute = [torch.arange(3), torch.arange(4)], Counted()
    assert [memo_on(tensors, "use", compute) for _ in range(3)] == [1, 1, 1]


def test_a_change_of_any_tensor_counts() -> None:
    tensors, compute = [torch.arange(3), torch.arange(4)], Counted()
    memo_on(tensors, "use", compute)
    for tensor in tensors:
        tensor.add_(1)
        before = compute.calls
        assert memo_on(tensors, "use", compute) == memo_on(tensors, "use", compute) == before + 1
    assert memo_on([tensors[0], tensors[1].clone()], "use", compute) == 4


def test_another_first_tensor_use_or_key_is_another_value() -> None:
    tensor, compute = torch.arange(3), Counted()
    assert memo_on([tensor], "use", compute, key=1) == 1
    assert memo_on([tensor], "other use", compute, key=1) == 2
    assert memo_on([tensor.clone()], "use", compute, key=1) == 3
    assert memo_on([tensor], "use", compute, key=1) == 1
    assert memo_on([tensor], "use", compute, key=2) == 4
    assert memo_on([tensor], "use", compute, key=1) == 5  # one value for each use, the last


def test_of_memory_that_is_read_only_the_place_counts() -> None:
    tensor, compute = torch.arange(3), Counted()
    table = torch.nn.Parameter(torch.ones(2))

    def value() -> int:
        return memo_on([tensor], "use", compute, memory=[table])

    assert value() == 1
    with torch.no_grad():
        table.add_(1)
    assert value() == 1
    table.data = torch.ones(2)
    assert value() == 2


def test_tensors_of_inference_mode_are_computed_from_each_time() -> None:
    with torch.inference_mode():
        tensor = torch.arange(3)
    compute = Counted()
    assert [memo_on([tensor], "use", compute) for _ in range(2)] == [1, 2]


def test_it_ends_with_its_first_tensor() -> None:
    before = len(memo._entries)

    def use() -> None:
        tensor: Tensor = torch.arange(3)
        memo_on([tensor], "use", Counted())
        memo_on([tensor], "other use", Counted())
        assert len(memo._entries) == before + 2

    use()
    gc.collect()
    assert len(memo._entries) <= before


def test_an_error_is_not_kept() -> None:
    tensor = torch.arange(3)
    for _ in range(2):
        try:
            memo_on([tensor], "use", lambda: 1 // 0)
        except ZeroDivisionError:
            continue
        raise AssertionError("the second call did not compute")
