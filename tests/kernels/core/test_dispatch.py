"""Which implementation of an operation runs, and how a test or a benchmark chooses it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import timeit
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch

from megalabel.errors import SettingError
from megalabel.kernels.core import dispatch
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.threads import run_ranges

FAMILY = "megalabel.kernels.candidates"
BOTH = Operation(FAMILY, "row_step", ("cpu", "triton"))
CPU_ALONE = Operation(FAMILY, "shortlist", enough_work=100)


def family_of(module: ModuleType | None) -> str | None:
    return None if module is None else module.__name__.rpartition(".")[0].rpartition(".")[2]


def test_a_contiguous_float32_table_on_a_cpu_takes_the_compiled_implementation() -> None:
    assert family_of(BOTH.for_table(torch.ones(3, 2))) == "_cpu"
    assert BOTH.for_table(torch.ones(3, 2)) is BOTH.for_table(torch.ones(1, 1))


def test_other_types_and_layouts_take_the_plain_implementation() -> None:
    good = torch.ones(3, 2)
    for table in (good.double(), good.to(torch.bfloat16), good.t()):
        for backend in ("cpu", "triton"):
            assert BOTH.for_table(table) is None
            with dispatch.use(backend):
                assert BOTH.for_table(table) is None
    assert BOTH.for_table(good, torch.ones(2, 3).t()) is None
    assert family_of(BOTH.for_table(good, torch.ones(5, dtype=torch.uint8))) == "_cpu"


def test_a_device_without_an_implementation_of_its_own_takes_the_plain_one() -> None:
    assert BOTH.for_device(torch.device("meta")) is None
    assert CPU_ALONE.for_device(torch.device("cuda")) is None


def test_little_work_takes_the_plain_implementation() -> None:
    assert CPU_ALONE.for_work(99) is None
    assert family_of(CPU_ALONE.for_work(100)) == "_cpu"


def test_a_choice_holds_within_its_block_and_the_inner_one_counts() -> None:
    table = torch.ones(3, 2)
    with dispatch.use("plain"):
        assert BOTH.for_table(table) is None and CPU_ALONE.for_work(10**9) is None
        with dispatch.use("cpu"):
            assert family_of(BOTH.for_table(table)) == family_of(CPU_ALONE.for_work(0)) == "_cpu"
        assert BOTH.for_table(table) is None
    assert family_of(BOTH.for_table(table)) == "_cpu"


def test_a_choice_ends_with_an_error() -> None:
    with pytest.raises(KeyError), dispatch.use("plain"):
        raise KeyError
    assert BOTH.for_table(torch.ones(1, 1)) is not None


def test_a_choice_of_cpu_or_plain_keeps_cuda_away_from_triton() -> None:
    for backend in ("cpu", "plain"):
        with dispatch.use(backend):
            assert BOTH.for_device(torch.device("cuda")) is None


def test_triton_leaves_operations_without_it_as_they_are() -> None:
    with dispatch.use("triton"):
        assert CPU_ALONE.for_device(torch.device("cpu")) is None
        assert CPU_ALONE.for_work(99) is None and CPU_ALONE.for_work(100) is not None


def test_without_the_package_the_plain_implementation_runs(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    dispatch._installed.cache_clear()
    try:
        absent = Operation(FAMILY, "row_step", ("cpu", "triton"))
        assert absent.for_device(torch.device("cpu")) is None
        assert absent.for_device(torch.device("cuda")) is None
        assert absent.for_work(10**9) is None
    finally:
        dispatch._installed.cache_clear()


def test_other_threads_keep_their_own_choice_but_the_pool_takes_its_caller_s() -> None:
    seen: list[object] = []
    with dispatch.use("plain"):
        other = threading.Thread(target=lambda: seen.append(CPU_ALONE.for_work(10**9)))
        other.start()
        other.join()
        inside = run_ranges(lambda _: CPU_ALONE.for_work(10**9), [range(1), range(1, 2), range(2, 3)])
    assert seen[0] is not None
    assert inside == [None, None, None]
    assert None not in run_ranges(lambda _: CPU_ALONE.for_work(10**9), [range(1), range(1, 2)])


def test_an_unknown_implementation_is_refused() -> None:
    with pytest.raises(SettingError) as found, dispatch.use("numba"):  # type: ignore[arg-type]
        pass
    assert found.value.where == "backend"


def test_a_choice_costs_little_beside_the_shortest_call() -> None:
    """The shortest calls, a beam search for one text, take a tenth of a millisecond."""
    table = torch.ones(3, 2)
    BOTH.for_table(table)
    seconds = min(timeit.repeat(lambda: BOTH.for_table(table), number=1000, repeat=20)) / 1000
    assert seconds < 10e-6


# The gradients of one loss by each implementation. The backward pass runs outside the block.
THREE_WAYS = """
import sys, torch
from megalabel.kernels.core import dispatch
from megalabel.kernels.fan_in.connections import first_inputs
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_loss
from megalabel.types import Positives

x, weight, inputs = torch.randn(5, 20), torch.randn(30, 4), first_inputs(30, 4, 20, seed=0)
positives = Positives(torch.tensor([0, 1]), torch.tensor([3, 4]))
found = []
for backend in ("plain", "cpu", "triton"):
    a, b = x.clone().requires_grad_(), weight.clone().requires_grad_()
    with dispatch.use(backend):
        loss = fan_in_loss(a, b, None, inputs, positives)
    loss.backward()
    found.append((loss.detach(), a.grad, b.grad))
    print(f"megalabel.kernels.fan_in._{backend}.fixed_fan_in" in sys.modules)
for one in found[1:]:
    torch.testing.assert_close(one, found[0], rtol=1e-4, atol=1e-4)
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed here")
def test_triton_is_chosen_on_a_cpu_too_where_it_interprets() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", THREE_WAYS], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["False", "True", "True"]
