"""Checks of `topk`: order, exclusion, renamed rows and independence of the texts."""

from __future__ import annotations

import torch

from megalabel.testing.planted import MakeHead, planted_views
from megalabel.types import Positives, TopK


def topk_is_sorted(make_head: MakeHead) -> None:
    """Shapes and types, no label twice, scores falling, ties to the lower label, -1 and -inf where labels end."""
    head = make_head()
    views, _ = planted_views(head)
    for k in (1, 5, head.n_labels, head.n_labels + 3):
        found = head.topk(views, k)
        assert found.ids.shape == found.scores.shape == (len(views), k), f"shapes for k = {k}"
        assert (found.ids.dtype, found.scores.dtype) == (torch.int64, torch.float32)
        assert not found.scores.requires_grad
        for ids, scores in zip(found.ids.tolist(), found.scores.tolist(), strict=True):
            given = [label for label in ids if label >= 0]
            assert len(set(given)) == len(given) >= 1, f"labels {ids}"
            assert max(given) < head.n_labels, f"label {max(given)} of {head.n_labels}"
            pairs = [(-score, label) for score, label in zip(scores, given, strict=False)]
            assert pairs == sorted(pairs), "labels out of order"
            assert ids == given + [-1] * (k - len(given))
            assert scores[len(given) :] == [-float("inf")] * (k - len(given))


def fewer_labels_are_a_prefix(make_head: MakeHead) -> None:
    """The best 3 labels are the first 3 of the best 7."""
    head = make_head()
    views, _ = planted_views(head)
    assert torch.equal(head.topk(views, 3).ids, head.topk(views, 7).ids[:, :3])


def excluded_labels_are_left_out(make_head: MakeHead) -> None:
    """Without the best label, the second is the best."""
    head = make_head()
    views, _ = planted_views(head)
    first = head.topk(views, 2).ids
    exclude = Positives.from_pairs(torch.arange(len(views)), first[:, 0])
    again = head.topk(views, 2, exclude=exclude).ids
    assert torch.equal(again[:, 0], first[:, 1])
    assert not (again == first[:, :1]).any()


def rows_can_be_renamed(make_head: MakeHead) -> None:
    """With `row_to_label` the ranking is the same in other names, and exclusion speaks of these names."""
    head = make_head()
    views, _ = planted_views(head)
    names = torch.randperm(head.n_labels, generator=torch.Generator().manual_seed(1))
    plain, renamed = head.topk(views, 2), head.topk(views, 2, row_to_label=names)
    torch.testing.assert_close(renamed.scores, plain.scores)
    apart = plain.scores[:, 0] > plain.scores[:, 1]  # ties go to the lower name, which is another label
    assert torch.equal(renamed.ids[apart, 0], names[plain.ids[apart, 0]])
    exclude = Positives.from_pairs(torch.arange(len(views)), renamed.ids[:, 0])
    again = head.topk(views, 1, exclude=exclude, row_to_label=names)
    assert torch.equal(again.ids[:, 0], renamed.ids[:, 1])


def texts_are_independent(make_head: MakeHead) -> None:
    """A text is ranked the same alone as among others."""
    head = make_head()
    views, _ = planted_views(head)
    whole, one = head.topk(views, 5), head.topk(views[7:8], 5)
    _agree(one, TopK(whole.ids[7:8], whole.scores[7:8]))


def _agree(found: TopK, expected: TopK) -> None:
    """The same ranking but for rounding: labels whose scores nearly tie may change places."""
    torch.testing.assert_close(found.scores, expected.scores)
    apart = (expected.scores[:, :-1] - expected.scores[:, 1:]) > 1e-4
    clear = torch.nn.functional.pad(apart, (0, 1), value=False) & torch.nn.functional.pad(
        apart, (1, 0), value=True
    )
    assert torch.equal(found.ids[clear], expected.ids[clear])
