"""The checks of `megalabel.testing` for heads over 40 labels, and one more for heads that work in chunks."""

from __future__ import annotations

from collections.abc import Callable

from topk_agree import assert_topk_agree

from megalabel.heads.base import Head
from megalabel.testing import HEAD_CHECKS, loss_value, planted_views, train_head
from megalabel.testing import N_TEXTS as N_TEXTS

N_LABELS, DIM = 40, 12

Maker = Callable[[], Head]  # a fresh head over N_LABELS labels and views of width DIM
CHECKS = HEAD_CHECKS
train, value = train_head, loss_value


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
        assert_topk_agree(head.topk(views, 5), expected, rtol=1e-4)
