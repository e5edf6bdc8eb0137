"""Builds the label layer of Spartex: a sparse head, with the labels in any order and the frequent ones dense."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from megalabel.errors import SettingError
from megalabel.heads.abilities import LabelPrior, having
from megalabel.heads.base import Head
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.label_parallel import over_processes
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.labels.grouping import frequent_first


def label_layer(
    counts: np.ndarray,
    n_texts: int,
    dim: int,
    order: np.ndarray | None = None,
    dense_fraction: float = 0.0,
    *,
    bias_from_prior: bool = False,
    **sparse: Any,
) -> Head:
    """A `SparseHead`, alone or beside a `DenseHead` for the most frequent labels (HASTE, ICML 2026).

    Args:
        counts: training texts per label, (L,) int64.
        n_texts: number of training texts.
        dim: D, the width of the embedding.
        order: (L,) int64, the labels in an order in which neighbors share their inputs; None for that of their
            ids.
        dense_fraction: fraction of the labels in the dense head, from 0 to 1; at 1 there is no sparse one, which
            is the dense baseline of Spartex.
        bias_from_prior: whether to initialize the biases from label frequencies.
        sparse: further arguments of `SparseHead`; the dense head has the same loss and type of weights.

    Raises:
        SettingError: the fraction is out of range, or an argument of `SparseHead` is invalid.
    """
    if not 0 <= dense_fraction <= 1:
        raise SettingError(
            f"dense_fraction = {dense_fraction:g}",
            wanted="from 0 to 1",
            where="dense_fraction",
        )
    n_labels = len(counts)
    if dense_fraction == 1:
        return _dense(n_labels, dim, SparseHead(1, dim, **sparse), counts if bias_from_prior else None, n_texts)
    n_dense = min(round(dense_fraction * n_labels), n_labels - 1)  # at least one label stays sparse
    sorted_labels = frequent_first(np.arange(n_labels) if order is None else order, counts, n_dense)
    rest = over_processes(SparseHead, n_labels - n_dense, dim, **sparse)
    parts = [rest]
    if n_dense:
        like = having(rest, SparseHead)[0]
        dense = over_processes(
            DenseHead, n_dense, dim, bias=True, loss=like.loss_name, reduction=like.reduction,
            loss_every=like.loss_every, weights=like.weight_type.name,
        )  # fmt: skip
        parts.insert(0, dense)
    alone = n_dense == 0 and order is None
    layer = rest if alone else PartitionedHead(parts, torch.from_numpy(sorted_labels))
    if bias_from_prior:
        assert isinstance(layer, LabelPrior)
        layer.init_prior(torch.from_numpy(counts), n_texts)
    return layer


def _dense(n_labels: int, dim: int, like: SparseHead, counts: np.ndarray | None, n_texts: int) -> Head:
    """A dense head with the loss and the type of weights of a sparse one."""
    head = over_processes(
        DenseHead, n_labels, dim, bias=True, loss=like.loss_name, reduction=like.reduction,
        loss_every=like.loss_every, weights=like.weight_type.name,
    )  # fmt: skip
    if counts is not None:
        assert isinstance(head, LabelPrior)
        head.init_prior(torch.from_numpy(counts), n_texts)
    return head
