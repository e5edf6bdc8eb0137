"""Which implementation of an operation runs, and how a test or a benchmark chooses it."""

from __future__ import annotations

import threading
import timeit
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
