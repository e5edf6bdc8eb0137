"""Threads that each process a contiguous range of labels on one core.

A matrix product over a few hundred labels is too small to be split over cores: synchronizing the threads takes as
long as the work. So the labels are divided once per step, every thread runs its own small products, and their
results are summed at the end in the order of the ranges. The same number of threads gives the same result bit for
bit. Linear models are trained without torch, too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from megalabel.device import default_threads

try:
    import torch
except ModuleNotFoundError:
    torch = None  # type: ignore[assignment]

T = TypeVar("T")

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def thread_count(device: torch.device) -> int:
    """The number of label ranges processed concurrently: torch's thread count on a CPU, 1 elsewhere."""
    return cpu_threads() if device.type == "cpu" else 1


def cpu_threads() -> int:
    """The number of threads on a CPU: torch's or, where torch is not installed, `default_threads`."""
    return default_threads() if torch is None else torch.get_num_threads()


def chunk_ranges(n_labels: int, chunk: int, n_ranges: int) -> list[range]:
    """Contiguous ranges of chunk numbers, at most `n_ranges` of nearly equal length."""
    n_chunks = -(-n_labels // chunk)
    n_ranges = max(1, min(n_ranges, n_chunks))
    cuts = [n_chunks * i // n_ranges for i in range(n_ranges + 1)]
    return [range(cuts[i], cuts[i + 1]) for i in range(n_ranges)]


def even_chunk(n_labels: int, wanted: int, n_ranges: int) -> int:
    """A chunk of about `wanted` labels, such that every range gets the same number of chunks."""
    rounds = -(-n_labels // (wanted * n_ranges))
    return -(-n_labels // (rounds * n_ranges))


def run_ranges(body: Callable[[range], T], ranges: list[range]) -> list[T]:
    """The results of `body` for every range, in their order; a single range runs in the calling thread."""
    if len(ranges) == 1:
        return [_without_gradients(body, ranges[0])]
    pool = _threads(len(ranges))
    # Each thread runs in a copy of the caller's context: `dispatch.use` holds for what is chosen there, too.
    futures = [pool.submit(copy_context().run, _without_gradients, body, r) for r in ranges]
    # Wait for all before the first error is raised: no thread may still write when the caller goes on.
    errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None:
            raise error
    return [future.result() for future in futures]


def parallel_for(work: Callable[[int, int], None], n_pieces: int) -> None:
    """Calls work(worker, piece) for every piece; a thread that has finished a piece takes the next one."""
    pieces = iter(range(n_pieces))

    def worker(number: range) -> None:
        for piece in pieces:  # all workers share one iterator, since next() is atomic
            work(number.start, piece)

    workers = max(1, min(cpu_threads(), n_pieces))
    run_ranges(worker, [range(i, i + 1) for i in range(workers)])


def _without_gradients(body: Callable[[range], T], chunks: range) -> T:
    if torch is None:
        return body(chunks)
    with torch.no_grad():  # the mode is per thread, and gradients are enabled by default
        return body(chunks)


def _threads(n: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < n:
            # A smaller pool is not shut down: another thread may be about to use it. It ends with its last user.
            outside = cpu_threads()
            ready = threading.Barrier(n + 1)
            _pool = ThreadPoolExecutor(n, thread_name_prefix="megalabel-labels")
            _pool_size = n
            waiting = [_pool.submit(_on_one_core, ready) for _ in range(n)]
            ready.wait()
            for future in waiting:
                future.result()
            # The setting of a worker also becomes the default of later threads, so it is restored.
            if torch is not None:
                torch.set_num_threads(outside)
        return _pool


def _on_one_core(ready: threading.Barrier) -> None:
    if torch is not None:
        # torch initializes a thread at the first call, which would otherwise undo the next line.
        torch.get_num_threads()
        torch.set_num_threads(1)
    ready.wait()  # so that every worker runs exactly one of these tasks


def _forget() -> None:
    """After a fork the child has no threads but its own.

    The pool is made anew. torch's own (OpenMP) does not notice that its threads are gone, and would wait for them
    for ever; with one thread torch asks none. A child that wants more is better spawned than forked.
    """
    global _pool, _pool_size, _lock
    _pool, _pool_size, _lock = None, 0, threading.Lock()
    if torch is not None:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
