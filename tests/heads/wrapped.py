"""Heads to put wrappers around, each over the battery's labels."""

from __future__ import annotations

import numpy as np
import torch
from heads.battery import DIM, N_LABELS

from megalabel.heads.base import Head
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.labels.tree import LabelTree


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dense(n_labels: int = N_LABELS, dim: int = DIM, **settings: object) -> DenseHead:
    return DenseHead(n_labels, dim, bias=True, generator=seeded(), **settings)


def sparse(n_labels: int = N_LABELS, dim: int = DIM, fan_in: int = 8, **settings: object) -> SparseHead:
    return SparseHead(n_labels, dim, fan_in=fan_in, generator=seeded(), **settings)


def cascade(n_labels: int = N_LABELS, dim: int = DIM, n_views: int = 1) -> CascadeHead:
    offsets = np.linspace(0, n_labels, 9).astype(np.int64)
    tree = LabelTree((offsets,), np.random.default_rng(0).permutation(n_labels))
    return CascadeHead(tree, dim, beams=[6], n_views=n_views, generator=seeded())


def ties(head: Head) -> None:
    """Takes from a head's weights and biases all but three values, so that many labels score the same."""
    with torch.no_grad():
        for tensor in head.parameters():
            tensor.copy_(torch.randint(0, 2, tensor.shape, generator=seeded(3)).to(tensor))
