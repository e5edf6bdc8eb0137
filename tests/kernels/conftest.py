"""What tests of passes over labels share: one thread and two, and memory that shows when it was not written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that torch.empty hands out is full of NaN: what is read before it is written shows."""
    torch.use_deterministic_algorithms(True)  # which also fills fresh memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
