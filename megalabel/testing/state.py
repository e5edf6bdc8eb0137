"""Checks of a head's state, its configuration and the arguments that it refuses."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megalabel.errors import DataError, SettingError
from megalabel.testing.planted import MakeHead, has_narrow_weights, loss_value, planted_views, train_head
from megalabel.types import Positives


def state_dict_holds_all(make_head: MakeHead) -> None:
    """Another head with the same state ranks the same."""
    head, other = make_head(), make_head()
    views, positives = planted_views(head)
    train_head(head, views, positives, steps=5)
    other.load_state_dict({name: t.clone() for name, t in head.state_dict().items()})
    head.settle()
    other.settle()
    a, b = head.topk(views, 5), other.topk(views, 5)
    assert torch.equal(a.ids, b.ids) and torch.equal(a.scores, b.scores)


def config_rebuilds_it(make_head: MakeHead) -> None:
    """`config` survives JSON, and `from_config` makes a head of the same tensors that ranks the same."""
    head = make_head()
    head.settle()
    config = json.loads(json.dumps(head.config()))
    with tempfile.TemporaryDirectory() as folder:
        head.save_files(Path(folder))
        other = type(head).from_config(config, Path(folder))
    assert (other.n_labels, other.dim, other.n_views) == (head.n_labels, head.dim, head.n_views)
    assert other.score_type == head.score_type
    shapes = [{k: (t.shape, t.dtype) for k, t in one.state_dict().items()} for one in (head, other)]
    assert shapes[0] == shapes[1]
    other.load_state_dict(head.state_dict())
    other.settle()
    views, _ = planted_views(head)
    assert torch.equal(head.topk(views, 5).ids, other.topk(views, 5).ids)


def evaluation_changes_nothing(make_head: MakeHead) -> None:
    """A loss in evaluation and a ranking leave the state as it is."""
    head = make_head()
    head.settle()
    views, positives = planted_views(head)
    before = {name: t.clone() for name, t in head.state_dict().items()}
    assert loss_value(head, views, positives) == loss_value(head, views, positives) > 0
    head.topk(views, 3)
    for name, tensor in head.state_dict().items():
        same = torch.equal(_comparable(tensor), _comparable(before[name]))
        assert same, f"{name} has changed"


def _comparable(tensor: Tensor) -> Tensor:
    """A tensor that torch.equal supports: float8 as its bits."""
    return tensor.view(torch.uint8) if tensor.is_floating_point() and tensor.itemsize == 1 else tensor


def wrong_views_are_refused(make_head: MakeHead) -> None:
    """The number and width of views are checked before anything is computed."""
    head = make_head()
    views, positives = planted_views(head)
    for bad in (views[..., :-1], torch.cat([views, views], dim=1), views[:, 0]):
        _refuses(SettingError, partial(head.loss, bad, positives), f"loss of views {tuple(bad.shape)}")
        _refuses(SettingError, partial(head.topk, bad, 3), f"topk of views {tuple(bad.shape)}")


def wrong_labels_are_refused(make_head: MakeHead) -> None:
    """A label that the head does not have is refused, and never another one trained in its place."""
    head = make_head()
    views, _ = planted_views(head)
    if has_narrow_weights(head):  # their loss wants a rule in training
        head.eval()
    for label in (-1, head.n_labels):
        pairs = Positives.from_pairs(torch.tensor([0, 1]), torch.tensor([label, 3]), torch.arange(len(views)))
        _refuses(DataError, partial(head.loss, views, pairs), f"a loss with the label {label}")


def _refuses(kind: type[Exception], call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{what} was not refused with a {kind.__name__}")
