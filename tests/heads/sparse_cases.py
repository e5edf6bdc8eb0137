"""The sparse heads that its tests look at."""

from __future__ import annotations

import torch
from heads.battery import DIM, N_LABELS

from megalabel.heads.sparse import SparseHead


def make(**settings: object) -> SparseHead:
    arguments = {"fan_in": 8, "seed": 3, **settings}
    return SparseHead(N_LABELS, DIM, generator=torch.Generator().manual_seed(1), **arguments)
