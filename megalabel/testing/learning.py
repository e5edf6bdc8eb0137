"""Checks of `loss`: what it trains, its gradient, its reduction and its special updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from megalabel.heads.abilities import RowGradients, UpdatesInBackward, having
from megalabel.heads.base import Head, uses_weights
from megalabel.testing.planted import MakeHead, has_narrow_weights, loss_value, planted_views, train_head
from megalabel.training.optim.fused import FusedSGD
from megalabel.training.optim.groups import Optimizers
from megalabel.training.optim.row_sparse import RowSGD
from megalabel.types import Positives

LOSS_SCALE = 1024.0


def loss_falls(make_head: MakeHead) -> None:
    """An ordinary optimizer at least halves the loss, and most texts get one of their labels first."""
    head = make_head()
    views, positives = planted_views(head)
    before = loss_value(head, views, positives)
    train_head(head, views, positives)
    after = loss_value(head, views, positives)
    assert after < 0.5 * before, f"the loss fell from {before:g} to {after:g} only"
    truth = set(zip(positives.rows.tolist(), positives.labels.tolist(), strict=True))
    best = head.topk(views, 1).ids[:, 0].tolist()
    right = sum(pair in truth for pair in enumerate(best))
    assert right > 0.8 * len(views), f"{right} of {len(views)} texts have a label of theirs first"


def gradient_reaches_the_views(make_head: MakeHead) -> None:
    """The encoder learns: the views get a finite gradient that is not all zero."""
    head = make_head()
    views, positives = planted_views(head)
    views.requires_grad_()
    if has_narrow_weights(head):  # their loss wants a rule in training
        head.eval()
    head.loss(views, positives).backward()
    assert views.grad is not None and bool(views.grad.isfinite().all())
    assert bool((views.grad != 0).any()), "a gradient of zeros"


def reduction_is_what_it_says(make_head: MakeHead) -> None:
    """Micro-batches, weighted by `reduction`, together have the loss and the gradient of the whole batch.

    A head whose mean is not over texts may differ where the texts of a batch count differently, by 20% here.
    """
    head = make_head().eval()
    views, positives = planted_views(head)
    parts = [(0, 20), (20, len(views))]
    with torch.no_grad():
        whole, total = float(head.loss(views, positives)), 0.0
        for start, stop in parts:
            weight = (stop - start) / len(views) if head.reduction == "mean" else 1.0
            total += weight * float(head.loss(views[start:stop], positives.of_texts(start, stop)))
    near = 0.2 if head.reduction == "mean" else 1e-3
    assert abs(total - whole) <= near * abs(whole), f"{total:g} in parts, {whole:g} as a whole"


def weights_are_factors(make_head: MakeHead) -> None:
    """Of a head that uses weights: those of a text multiply its loss, and so its gradient; ones change nothing."""
    head = make_head().eval()
    if not all(uses_weights(part) for part in having(head, Head)):
        return
    views, positives = planted_views(head)
    random = torch.rand(len(views), generator=torch.Generator().manual_seed(5))
    random[0] = 0
    none, ones = _moved(head, views, positives, None), _moved(head, views, positives, torch.ones(len(views)))
    for before, after in zip(none, ones, strict=True):
        torch.testing.assert_close(after, before, msg=lambda text: f"weights of 1 change the loss: {text}")
    one, other = (_moved(head, views, positives, weights) for weights in (random, 2 - random))
    for a, b, whole in zip(one, other, none, strict=True):
        near = 1e-5 * float(whole.abs().max())
        assert torch.allclose(a + b, 2 * whole, rtol=1e-3, atol=near), "the loss is not linear in the weights"
    torch.testing.assert_close(one[1], none[1] * random[:, None, None], rtol=1e-3, atol=1e-6)


def _moved(head: Head, views: Tensor, positives: Positives, weights: Tensor | None) -> list[Tensor]:
    """The loss and the gradients of the views and of the parameters."""
    head.zero_grad(set_to_none=True)
    x = views.clone().requires_grad_()
    torch.manual_seed(0)
    loss = head.loss(x, replace(positives, weights=weights))
    loss.backward()
    return [t.detach().clone() for t in (loss, x.grad, *(p.grad for p in head.parameters())) if t is not None]


def fused_update_is_a_gradient_step(make_head: MakeHead) -> None:
    """A fused step of an `UpdatesInBackward` head is that of SGD, in two micro-batches with a scaled loss.

    Not of one with narrow weights, whose steps are rounded at random, and which SGD cannot train.
    """
    if has_narrow_weights(make_head()):
        return
    _steps_agree(
        make_head,
        lambda head: [p for part in having(head, UpdatesInBackward) for p in cast(nn.Module, part).parameters()],
        lambda head: FusedSGD(head, lr=1e-3, decay_bias=True),
    )


def row_update_is_a_gradient_step(make_head: MakeHead) -> None:
    """A step of `RowSGD` on a `RowGradients` head is that of SGD, in two micro-batches with a scaled loss.

    It moves the `tables()` alone: what else the head has needs another optimizer. Not of one with narrow weights.
    """
    if has_narrow_weights(make_head()):
        return
    _steps_agree(
        make_head,
        lambda head: [
            cast(Tensor, t) for part in having(head, RowGradients) for table in part.tables() for t in table
        ],
        lambda head: RowSGD(head, lr=1e-3),
    )


def _steps_agree(
    make_head: MakeHead, moved_of: Callable[[Head], list[Tensor]], make_optimizer: Callable[[Head], Any]
) -> None:
    """A special optimizer moves what `moved_of` gives as plain SGD does, where it gives any tensor."""
    special, plain = make_head(), make_head()
    learning = moved_of(plain)
    if not learning:
        return
    views, positives = planted_views(special)
    optimizers = [
        Optimizers(head=make_optimizer(special)),
        Optimizers(head=torch.optim.SGD(learning, lr=1e-3)),
    ]
    before = {name: tensor.clone() for name, tensor in special.state_dict().items()}
    for head, optimizer, scale in zip((special, plain), optimizers, (LOSS_SCALE, 1.0), strict=True):
        for i, (start, stop) in enumerate(((0, 20), (20, len(views)))):
            torch.manual_seed(i)
            optimizer.begin(i, 2, scale)
            loss = head.loss(views[start:stop], positives.of_texts(start, stop))
            (loss * scale).backward()
        for one in optimizer.named.values():
            if isinstance(one, RowSGD):
                one.step(scale)
            else:
                one.step()
        optimizer.named["head"].zero_grad(set_to_none=True)
    state = special.state_dict()
    assert any(not torch.equal(state[name], before[name]) for name in state), "no weight has moved"
    moved = {id(p) for p in learning}
    named = {name: p for name, p in plain.named_parameters() if id(p) in moved}
    assert len(named) == len(moved), f"of {len(moved)} tensors that learn only {sorted(named)} are parameters"
    for name, parameter in named.items():
        torch.testing.assert_close(state[name], parameter.detach(), rtol=1e-4, atol=1e-6)
