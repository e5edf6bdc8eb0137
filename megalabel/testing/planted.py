"""Views and labels that a head can learn, and what trains and judges it on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from megalabel.heads.abilities import RowGradients, StoresWeights, having
from megalabel.heads.base import Head
from megalabel.training.optim.fused import FusedSGD
from megalabel.training.optim.groups import Optimizers
from megalabel.training.optim.row_sparse import RowAdagrad
from megalabel.types import Positives

N_TEXTS = 60
MakeHead = Callable[[], Head]


def planted_views(head: Head, seed: int = 0, n_texts: int = N_TEXTS) -> tuple[Tensor, Positives]:
    """Views in which each label has a direction of its own, (n_texts, V, D), and two labels per text."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(head.n_labels, head.dim, generator=random)
    labels = torch.stack([torch.randperm(head.n_labels, generator=random)[:2] for _ in range(n_texts)])
    views = directions[labels].sum(1, keepdim=True).expand(-1, head.n_views, -1)
    rows = torch.arange(n_texts).repeat_interleave(labels.shape[1])
    return views.contiguous(), Positives.from_pairs(rows, labels.reshape(-1), torch.arange(n_texts))


def train_head(head: Head, views: Tensor, positives: Positives, steps: int = 60, lr: float = 0.05) -> None:
    """Trains a head by Adam on one batch; a head without parameters is left as it is.

    Heads whose weights are narrow are trained by `FusedSGD`, with momentum and `lr`, or by `RowAdagrad`.
    """
    parameters = [p for p in head.parameters() if p.requires_grad]
    if has_narrow_weights(head):
        by_rows = bool(having(head, RowGradients))
        optimizer: Any = RowAdagrad(head, lr) if by_rows else FusedSGD(head, lr, momentum=0.9)
        parameters = []
        for step in range(steps):
            head.loss(views, positives).backward()
            optimizer.step()
            optimizer.zero_grad()
            head.after_step(step, None)
    if not parameters:
        return
    optimizer = torch.optim.Adam(parameters, lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        head.loss(views, positives).backward()
        optimizer.step()
        head.after_step(step, Optimizers(adam=optimizer))


def has_narrow_weights(head: Head) -> bool:
    """Whether weights of the head are stored in a narrow type, and have no gradients."""
    return any(part.weight_type.is_narrow for part in having(head, StoresWeights))


def loss_value(head: Head, views: Tensor, positives: Positives) -> float:
    """The loss in evaluation."""
    head.eval()
    with torch.no_grad():
        value = float(head.loss(views, positives))
    head.train()
    return value
