"""The process in which Triton interprets the kernels over all labels: one for all files."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

import pytest
from support.triton_worker import interpreter


@pytest.fixture(scope="session")
def worker() -> Iterator[Executor]:
    with interpreter() as process:
        yield process
