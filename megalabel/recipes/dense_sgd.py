"""The SGD of a dense head, with the options of its narrow weights."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from megalabel.heads.base import Head
from megalabel.training.optim.groups import FusedSGD


class DenseSGDOptions(Protocol):
    """The options that `sgd_of` reads: those of `HeadRateOptions`, `WeightTypeOptions` and `SeedOptions`."""

    head_lr: float
    head_weight_decay: float
    compensated_fraction: float
    seed: int


def sgd_of(
    head: Head,
    counts: np.ndarray,
    options: DenseSGDOptions,
    momentum: float = 0.0,
    momentum_dtype: str = "float32",
) -> FusedSGD:
    """The optimizer of a dense head.

    Args:
        head: the head.
        counts: training texts per label, (L,) int64.
        options: rates, weights' type and seed.
        momentum: from 0 to below 1.
        momentum_dtype: "float32" or "bfloat16".
    """
    return FusedSGD(
        head, options.head_lr, momentum, options.head_weight_decay, momentum_dtype=momentum_dtype,
        compensated=most_frequent(counts, options.compensated_fraction), seed=options.seed,
    )  # fmt: skip


def most_frequent(counts: np.ndarray, fraction: float) -> torch.Tensor | None:
    """A fraction of the labels, most frequent first, those of lower ids where frequencies are equal.

    Returns:
        (C,) int64, ascending; None if there are none.
    """
    n = round(fraction * len(counts))
    if not n:
        return None
    return torch.from_numpy(np.sort(np.argsort(-counts, kind="stable")[:n]).astype(np.int64))
