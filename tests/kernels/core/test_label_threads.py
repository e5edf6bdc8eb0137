"""Label ranges: they cover every chunk once, and threads that fail or that are lost do no harm."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from megalabel.kernels.core import threads as label_threads
from megalabel.kernels.core.threads import chunk_ranges, even_chunk, run_ranges, thread_count


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@given(st.integers(1, 10_000), st.integers(1, 3_000), st.integers(1, 70))
def test_every_chunk_is_in_one_range(n_labels, chunk, n_ranges):
    ranges = chunk_ranges(n_labels, chunk, n_ranges)
    numbers = [number for r in ranges for number in r]
    assert numbers == list(range(-(-n_labels // chunk)))
    assert 1 <= len(ranges) <= n_ranges
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


@given(st.integers(1, 10_000), st.integers(1, 3_000), st.integers(1, 70))
def test_even_chunks_share_the_work(n_labels, wanted, n_ranges):
    chunk = even_chunk(n_labels, wanted, n_ranges)
    assert 1 <= chunk <= wanted
    lengths = [len(r) for r in chunk_ranges(n_labels, chunk, n_ranges)]
    assert max(lengths) <= -(-n_labels // (wanted * n_ranges))


def test_results_keep_the_order_of_ranges():
    assert run_ranges(list, [range(0, 3), range(3, 4)]) == [[0, 1, 2], [3]]


def test_workers_use_one_core_and_leave_others_alone():
    inside = run_ranges(lambda _: (torch.get_num_threads(), torch.is_grad_enabled()), [range(1), range(1)])
    assert inside == [(1, False), (1, False)]
    assert torch.get_num_threads() == 2
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


def test_an_error_is_raised_when_all_have_ended():
    ended = threading.Event()

    def body(numbers: range) -> None:
        if numbers.start == 0:
            raise ValueError("first range")
        ended.wait(0.05)
        ended.set()

    with pytest.raises(ValueError, match="first range"):
        run_ranges(body, [range(0, 1), range(1, 2)])
    assert ended.is_set()


def test_after_a_fork_new_threads_are_started():
    run_ranges(len, [range(1), range(2)])
    old = label_threads._pool
    label_threads._forget()  # what a forked child does, where the old threads are gone
    assert run_ranges(len, [range(1), range(2)]) == [1, 2]
    assert label_threads._pool is not old
    old.shutdown()


def test_accelerators_take_one_range():
    assert thread_count(torch.device("cpu")) == 2
    assert thread_count(torch.device("cuda")) == 1
