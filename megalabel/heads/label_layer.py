"""A label layer of few connections, with the labels in any order and the most frequent ones fully connected."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from megalabel.errors import SettingError
from megalabel.heads.base import Head
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.labels.grouping import frequent_first


def label_layer(
    counts: np.ndarray,
    n_texts: int,
    dim: int,
    order: np.ndarray | None = None,
    dense_share: float = 0.0,
    *,
    prior: bool = False,
    **sparse: Any,
) -> Head:
    """A `SparseHead`, alone or with a `DenseHead` for the most frequent labels beside it (HASTE, ICML 2026).

    Args:
        counts: training texts per label, (L,) int64.
        n_texts: training texts in all.
        dim: D, the width of the embedding.
        order: of the labels, (L,) int64, in which neighbors share their connections; None for that of their ids.
        dense_share: fraction of the labels in the dense head, from 0 to below 1.
        prior: start the biases at the labels' frequencies.
        sparse: further arguments of `SparseHead`.

    Raises:
        SettingError: a fraction out of range, or what `SparseHead` refuses.
    """
    if not 0 <= dense_share < 1:
        raise SettingError(
            f"dense_share = {dense_share:g}",
            wanted="from 0 to below 1",
            next_step="correct it, or take the recipe renee, in which every label listens to every input",
            where="dense_share",
        )
    n_labels = len(counts)
    n_dense = min(round(dense_share * n_labels), n_labels - 1)  # one is left where rounding leaves none
    places = np.arange(n_labels) if order is None else order
    places = frequent_first(places, counts, n_dense)
    rest = SparseHead(n_labels - n_dense, dim, **sparse)
    parts: list[DenseHead | SparseHead] = [rest]
    if n_dense:
        loss, reduction = rest.loss_name, rest.reduction
        dense = DenseHead(n_dense, dim, bias=True, loss=loss, reduction=reduction, loss_every=rest.loss_every)
        parts.insert(0, dense)
    alone = n_dense == 0 and order is None
    layer = rest if alone else PartitionedHead(parts, torch.from_numpy(places))
    if prior:
        layer.init_prior(torch.from_numpy(counts), n_texts)
    return layer
