"""Small label trees for beam searches, and the implementations of the search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from megalabel.kernels.core import dispatch
from megalabel.types import Positives, TopK

SCORES = ("label", "label*parent", "path", "decayed")
SEARCHES = ["numba, 1 thread", "numba, 2 threads", "gathered"]


@contextmanager
def running(search: str) -> Iterator[None]:
    """A context in which every beam search runs with the given one of SEARCHES."""
    before = torch.get_num_threads()
    torch.set_num_threads(2 if "2" in search else 1)
    try:
        with dispatch.use("plain" if search == "gathered" else "cpu"):
            yield
    finally:
        torch.set_num_threads(before)


def case(seed: int, depth: int = 2, width: int = 4, n_views: int = 1, batch: int = 5, spread: int = 3):
    """Views, weights, biases, offsets and order of a ragged tree; integers, for exact scores with many ties."""
    rng = np.random.default_rng(seed)
    sizes, offsets = [width], []
    for _ in range(depth):
        offsets.append(np.concatenate([[0], np.cumsum(rng.integers(1, 6, sizes[-1]))]))
        sizes.append(int(offsets[-1][-1]))

    def whole(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(-spread, spread + 1, shape)).float()

    tables = [whole(n, 3) for n in sizes], [whole(n) for n in sizes], offsets, rng.permutation(sizes[-1])
    return whole(batch, n_views, 3), *tables


def some_pairs(seed: int, batch: int, n_labels: int, share: float = 0.3) -> Positives:
    found = (torch.rand(batch, n_labels, generator=torch.Generator().manual_seed(seed)) < share).nonzero().flip(0)
    return Positives(found[:, 0], found[:, 1])  # unsorted on purpose


def same(a: TopK, b: TopK) -> None:
    assert torch.equal(a.ids, b.ids)
    torch.testing.assert_close(a.scores, b.scores, rtol=1e-6, atol=0)
