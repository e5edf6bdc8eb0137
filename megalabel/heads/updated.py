"""A head that has learned further texts; the encoder before it and the biases of the labels stay.

The label weights take some steps of gradient descent on the head's own loss over the new texts. The gradient of
a label is multiplied by (M + εI)⁻¹, where M is the mean of x xᵀ over the new texts and over further texts, such
as those of the labels. Without this a step goes mostly in the direction that all embeddings share, and moves the
scores of every text; with it, the distance of a step is measured by the change of the scores. A text moves its
own scores by about `STEP` times the slope of their loss in each pass, so that a single text is learned like one
of many.

A label of a sparse head reads F of the D inputs; there M is the diagonal of the variances plus the square of the
mean, whose inverse for any F inputs has a closed form. Measured in docs/notes/0038-labels-that-come-and-go.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.heads.base import Head
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.candidates.row_step import row_sgd
from megalabel.types import Positives

PASSES, BATCH = 3, 128
STEP = 0.3
RIDGE = 0.1  # ε, relative to the mean of the diagonal of M
STEEPER = 8.0  # the largest second derivative of the squared hinge loss, 2, relative to that of the sigmoid's, 1/4


def updated_head(
    head: Head,
    views: Tensor,
    labels: sp.csr_matrix,
    others: Tensor,
    *,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> Head:
    """A copy of a head that has learned further texts.

    Args:
        head: a dense, sparse or cascade head with weights in float32.
        views: (N, V, D) on the device of the head, the views of the new texts.
        labels: (N, L) CSR, above 0 where a text has a label.
        others: (M, V, D), the views of further texts, by which scores shall change little.
        weights: (N,) above 0, the factor of the loss of each text; None for 1 each.
        seed: seeds the order of the texts.

    Raises:
        SettingError: another kind of head, or weights in a narrow type.
    """
    new = _copy(head)
    every = torch.cat([views, others])
    steps = _CascadeSteps(new, every) if isinstance(new, CascadeHead) else _TableSteps(new, every)
    given = None if weights is None else torch.from_numpy(np.asarray(weights, np.float32))
    random = np.random.default_rng(seed)
    for _ in range(PASSES):
        order = random.permutation(len(views))
        for start in range(0, len(order), BATCH):
            rows = np.sort(order[start : start + BATCH])
            pairs = labels[rows].tocoo()
            of_pairs, at = (torch.from_numpy(part.astype(np.int64)) for part in (pairs.row, pairs.col))
            texts, own = torch.from_numpy(rows), None if given is None else given[rows]
            positives = Positives.from_pairs(of_pairs, at, texts, own).to(views.device)
            steps.take(views[texts.to(views.device)], positives)
    new.zero_grad(set_to_none=True)
    if isinstance(new, CascadeHead):
        new.row_gradients = None
    new.reduction = head.reduction
    new.eval().settle()
    return new


def _copy(head: Any) -> Head:
    """A copy without what training attached, such as an optimizer's rule; its loss is a sum over texts."""
    if type(head) not in (DenseHead, SparseHead, CascadeHead):  # a subclass may have another loss
        raise SettingError(
            f"partial_fit of a model with a {type(head).__name__}",
            wanted="a model whose head is dense, sparse or a cascade, or a linear model",
            next_step="train again with the new texts; new labels can be added with with_labels",
            where="model",
        )
    if head.weight_type.is_narrow:
        raise SettingError(
            f"partial_fit of label weights in {head.weight_type.name}",
            wanted="weights in float32",
            next_step="train again with the new texts",
            where="model",
        )
    new: Head = type(head).from_config(head.config())
    new.load_state_dict(head.state_dict())
    device = next(head.parameters()).device
    new.reduction = "sum"
    return new.to(device).train()


class _TableSteps:
    """Steps of a dense or sparse head, by the gradient of its table."""

    def __init__(self, head: Any, views: Tensor) -> None:
        self.head = head
        metric = _InputMetric(head, views[:, 0]) if isinstance(head, SparseHead) else _Metric(views[:, 0])
        self.metric, steeper = metric, STEEPER if head.loss_name == "squared_hinge" else 1.0
        self.rate = STEP / (metric.size * steeper)

    def take(self, views: Tensor, positives: Positives) -> None:
        """One step on some texts."""
        weight = self.head.weight
        weight.grad = None
        self.head.loss(views, positives).backward()
        with torch.no_grad():
            weight.sub_(self.metric.applied(weight.grad), alpha=self.rate)


class _CascadeSteps:
    """Steps of a cascade, on the rows that its loss scores."""

    def __init__(self, head: CascadeHead, views: Tensor) -> None:
        self.head = head
        self.metrics = [_Metric(views[:, min(i, head.n_views - 1)]) for i in range(len(head.sizes))]

    def take(self, views: Tensor, positives: Positives) -> None:
        """One step on some texts."""
        self.head.row_gradients = [[] for _ in self.head.tables()]
        self.head.loss(views, positives).backward()
        tables = zip(self.head.tables(), self.head.row_gradients, self.metrics, strict=True)
        for (weight, _), found, metric in tables:
            moved = [TableGradient(metric.applied(one.views), one.candidates, one.cells) for one in found]
            row_sgd(weight, None, moved, STEP / metric.size)


class _Metric:
    """(M + εI)⁻¹ of vectors x (N, D), and the mean of xᵀ (M + εI)⁻¹ x as its size."""

    def __init__(self, x: Tensor) -> None:
        x = x.double()
        m = x.T @ x / max(len(x), 1)
        ridge = RIDGE * m.diagonal().mean().clamp(min=1e-12)
        inverse = torch.linalg.inv(m + ridge * torch.eye(len(m), dtype=m.dtype, device=m.device))
        self.size = max(float((inverse * m).sum()), 1e-12)
        self.inverse = inverse.float()

    def applied(self, gradient: Tensor) -> Tensor:
        """The product with rows (n, D)."""
        found: Tensor = gradient @ self.inverse
        return found


class _InputMetric:
    """The inverse of diag(variances) + mean · meanᵀ over the inputs of each label of a sparse head."""

    def __init__(self, head: SparseHead, x: Tensor) -> None:
        mean, variance = x.mean(0), x.var(0, correction=0)
        variance = variance + RIDGE * variance.mean().clamp(min=1e-12)
        inputs = head.get_buffer("inputs").long().repeat_interleave(head.group, dim=0)[: head.n_labels]
        self.variance, self.mean, self.size = variance[inputs], mean[inputs], float(head.fan_in)
        self.scaled = self.mean / self.variance

    def applied(self, gradient: Tensor) -> Tensor:
        """The product with rows (L, F), by the formula of Sherman and Morrison."""
        own = gradient / self.variance
        shared = (own * self.mean).sum(1) / (1 + (self.scaled * self.mean).sum(1))
        found: Tensor = own - self.scaled * shared[:, None]
        return found
