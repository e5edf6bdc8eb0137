"""What every head must do, whatever its paper: checks that take a maker of heads."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from topk_agree import assert_topk_agree
from torch import Tensor

from megalabel.errors import DataError, SettingError
from megalabel.heads.base import Head
from megalabel.training.optim.groups import Optimizers
from megalabel.types import Positives, TopK

N_LABELS, DIM, N_TEXTS = 40, 12, 60

Maker = Callable[[], Head]  # a fresh head over N_LABELS labels and views of width DIM


def planted_views(head: Head, seed: int = 0) -> tuple[Tensor, Positives]:
    """Views in which each label owns a direction: (N_TEXTS, V, DIM), and which labels each text has."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(N_LABELS, DIM, generator=random)
    labels = torch.stack([torch.randperm(N_LABELS, generator=random)[:2] for _ in range(N_TEXTS)])
    views = directions[labels].sum(1, keepdim=True).expand(-1, head.n_views, -1)
    rows = torch.arange(N_TEXTS).repeat_interleave(2)
    return views.contiguous(), Positives.of(rows, labels.reshape(-1))


def train(head: Head, views: Tensor, positives: Positives, steps: int = 60, lr: float = 0.05) -> None:
    """Plain training with Adam: every head works with an ordinary optimiser."""
    optimizer = torch.optim.Adam(head.parameters(), lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        head.loss(views, positives).backward()
        optimizer.step()
        head.after_step(step, Optimizers(adam=optimizer))


def value(head: Head, views: Tensor, positives: Positives) -> float:
    head.eval()
    with torch.no_grad():
        loss = float(head.loss(views, positives))
    head.train()
    return loss


def check_loss_falls(make: Maker) -> None:
    head = make()
    views, positives = planted_views(head)
    before = value(head, views, positives)
    train(head, views, positives)
    assert value(head, views, positives) < 0.5 * before
    truth = set(zip(positives.rows.tolist(), positives.labels.tolist(), strict=True))
    best = head.topk(views, 1).ids[:, 0].tolist()
    assert sum(pair in truth for pair in enumerate(best)) > 0.8 * N_TEXTS


def check_topk(make: Maker) -> None:
    """Sorted, in range, no label twice, ties to the lower id."""
    head = make()
    views, _ = planted_views(head)
    for k in (1, 5, N_LABELS, N_LABELS + 3):
        found = head.topk(views, k)
        assert found.ids.shape == found.scores.shape == (N_TEXTS, k)
        assert found.ids.dtype == torch.int64
        assert found.scores.dtype == torch.float32
        for labels, scores in zip(found.ids.tolist(), found.scores.tolist(), strict=True):
            given = [label for label in labels if label >= 0]
            assert len(set(given)) == len(given) >= 1
            assert max(given) < N_LABELS
            pairs = [(-score, label) for score, label in zip(scores, given, strict=False)]
            assert pairs == sorted(pairs)
            assert labels == given + [-1] * (k - len(given))
            assert scores[len(given) :] == [-float("inf")] * (k - len(given))
    assert not found.scores.requires_grad


def check_fewer_are_a_prefix(make: Maker) -> None:
    head = make()
    views, _ = planted_views(head)
    assert torch.equal(head.topk(views, 3).ids, head.topk(views, 7).ids[:, :3])


def check_exclusion(make: Maker) -> None:
    head = make()
    views, _ = planted_views(head)
    first = head.topk(views, 2).ids
    exclude = Positives.of(torch.arange(N_TEXTS), first[:, 0])
    again = head.topk(views, 2, exclude=exclude).ids
    assert torch.equal(again[:, 0], first[:, 1])
    assert not (again == first[:, :1]).any()


def check_texts_do_not_see_each_other(make: Maker) -> None:
    head = make()
    views, _ = planted_views(head)
    whole = head.topk(views, 5)
    assert_topk_agree(head.topk(views[7:8], 5), TopK(whole.ids[7:8], whole.scores[7:8]))


def check_saving_keeps_answers(make: Maker) -> None:
    head, other = make(), make()
    views, positives = planted_views(head)
    train(head, views, positives, steps=5)
    other.load_state_dict({name: t.clone() for name, t in head.state_dict().items()})
    a, b = head.topk(views, 5), other.topk(views, 5)
    assert torch.equal(a.ids, b.ids)
    assert torch.equal(a.scores, b.scores)


def check_settings_build_it_again(make: Maker) -> None:
    head = make()
    settings = json.loads(json.dumps(head.config()))
    other = type(head).from_config(settings)
    assert (other.n_labels, other.dim, other.n_views) == (head.n_labels, head.dim, head.n_views)
    other.load_state_dict(head.state_dict())
    views, _ = planted_views(head)
    assert torch.equal(head.topk(views, 5).ids, other.topk(views, 5).ids)


def check_views(make: Maker) -> None:
    """The number and width of views are checked before anything is computed."""
    head = make()
    views, positives = planted_views(head)
    for bad in (views[..., :-1], torch.cat([views, views], dim=1), views[:, 0]):
        with pytest.raises(SettingError, match="views of shape"):
            head.loss(bad, positives)
        with pytest.raises(SettingError, match="views of shape"):
            head.topk(bad, 3)


def check_labels(make: Maker) -> None:
    """A label that the head does not have is refused, and never another one trained in its place."""
    head = make()
    views, _ = planted_views(head)
    for label in (-1, N_LABELS):
        with pytest.raises(DataError, match=str(label)):
            head.loss(views, Positives.of(torch.tensor([0, 1]), torch.tensor([label, 3])))


def check_gradient_reaches_the_views(make: Maker) -> None:
    head = make()
    views, positives = planted_views(head)
    views.requires_grad_()
    head.loss(views, positives).backward()
    assert views.grad is not None
    assert views.grad.isfinite().all()
    assert (views.grad != 0).any()


def check_evaluation_changes_nothing(make: Maker) -> None:
    head = make()
    views, positives = planted_views(head)
    before = {name: t.clone() for name, t in head.state_dict().items()}
    assert value(head, views, positives) == value(head, views, positives) > 0
    head.topk(views, 3)
    for name, tensor in head.state_dict().items():
        assert torch.equal(tensor, before[name])


def check_chunk_size_is_irrelevant(makers: list[Maker]) -> None:
    """The same head, made with other chunk sizes, answers and learns the same."""
    heads = [make() for make in makers]
    views, positives = planted_views(heads[0])
    start = {name: tensor.clone() for name, tensor in heads[0].state_dict().items()}
    for head in heads:
        head.load_state_dict(start)
        train(head, views, positives, steps=3)
    expected = heads[0].topk(views, 5)
    for head in heads[1:]:
        found = head.topk(views, 5)
        assert_topk_agree(found, expected, rtol=1e-4)


CHECKS: list[Callable[[Maker], None]] = [
    check_loss_falls,
    check_topk,
    check_fewer_are_a_prefix,
    check_exclusion,
    check_texts_do_not_see_each_other,
    check_saving_keeps_answers,
    check_settings_build_it_again,
    check_views,
    check_labels,
    check_gradient_reaches_the_views,
    check_evaluation_changes_nothing,
]
