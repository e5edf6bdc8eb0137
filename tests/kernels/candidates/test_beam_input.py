"""What a beam search takes and what it refuses: odd sizes and types, numbers that are not finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from support.beam_cases import SCORES, SEARCHES, case, running, same

from megalabel.errors import DataError, SettingError
from megalabel.kernels.candidates.beam import BeamSearch, beam_topk, plain
from megalabel.types import Positives

NOT_FINITE = [(np.nan, 0), (np.nan, -1), (np.inf, 0), (-np.inf, -1)]  # a value, and the row that has it


@pytest.fixture(autouse=True, params=SEARCHES)
def body(request: pytest.FixtureRequest) -> Iterator[None]:
    with running(request.param):
        yield


def test_fewer_labels_than_k_fill_with_minus_one(seed):
    views, *tree = case(seed, 1, 3)
    exclude = Positives.from_pairs(*torch.cartesian_prod(torch.arange(1, 3), torch.arange(len(tree[3]))).t())
    found = beam_topk(views, *tree, [3], len(tree[3]) + 2, "label", exclude)
    assert (found.ids.dtype, found.scores.dtype) == (torch.int64, torch.float32)
    for b in range(len(views)):
        missing = len(tree[3]) if b in (1, 2) else 0
        assert (found.ids[b] < 0).tolist() == [False] * (len(tree[3]) - missing) + [True] * (missing + 2)
        assert ((found.scores[b] == -torch.inf) == (found.ids[b] < 0)).all()


def test_an_empty_batch_and_numbers_of_other_types(seed):
    views, weights, biases, offsets, order = case(seed)
    expected = plain(views, weights, biases, offsets, order, (2, 2), 3)
    frozen = [o.astype(np.int64) for o in offsets]
    for o in frozen:
        o.flags.writeable = False
    ids = torch.from_numpy(order).int()
    search = BeamSearch([w.half() for w in weights], biases, frozen, ids, np.array([2, 2]))
    same(search(views.bfloat16(), 3), expected)
    assert search(views[:0], 3).ids.shape == (0, 3)
    same(search(torch.cat([views] * 2, 2)[:, :, 3:], 3), expected)  # not contiguous


def test_changed_tables_are_seen(seed):
    views, *tree = case(seed)
    search = BeamSearch(*tree, (2, 2))
    search(views, 3)
    for w in tree[0]:
        w.neg_()
    same(search(views, 3), plain(views, *tree, (2, 2), 3))


@pytest.mark.pairwise("body", bad=NOT_FINITE, scores=SCORES, level=[0, 1, 2], body=SEARCHES)
def test_scores_that_are_not_finite_are_refused(level, scores, bad, seed):
    value, row = bad
    views, *tree = case(seed, batch=40)
    tree[0][level][row] = value
    views[:] = 1
    search = BeamSearch(*tree, (1000, 1000), scores)
    for texts in (views, views[:1]):
        with pytest.raises(SettingError, match="NaN or infinite"):
            search(texts, 2)
    tree[0][level][row] = 0
    search(views, 2)
    views[17] = value
    with pytest.raises(SettingError, match="NaN or infinite"):
        search(views, 2)


def test_settings_that_do_not_fit(seed):
    views, weights, biases, offsets, order = case(seed)

    def refused(match: str, **changes: Any) -> None:
        arguments = {"views": views, "weights": weights, "biases": biases, "offsets": offsets, "order": order}
        with pytest.raises(SettingError, match=match):
            beam_topk(**(arguments | {"beams": (1, 1), "k": 1} | changes))

    refused("k=0", k=0)
    refused("beams", beams=(1, 0))
    refused("beams", beams=(1.5, 1))
    refused("1 beams", beams=(1,))
    refused("2 weights", weights=weights[1:])
    refused("0 offsets", offsets=[], beams=())
    refused("path_score='best'", path_score="best")
    refused("weights of shapes", weights=[*weights[:2], weights[2][:, :2]])
    refused("a bias", biases=[None, biases[1][1:], None])
    refused("offsets of level 0", offsets=[offsets[0][:-1], offsets[1]])
    refused("offsets of level 1", offsets=[offsets[0], offsets[1] + 1])
    refused("offsets of level 1", offsets=[offsets[0], np.concatenate([[0, 10**9], offsets[1][2:]])])
    refused("integers", offsets=[offsets[0], offsets[1].astype(float)])
    refused("an order", order=order + 1)
    refused("an order", order=order[1:])
    refused("an order", order=order * 0)
    refused("views", views=views[0])
    refused("views", views=views.expand(-1, 2, -1))
    refused("views", views=views[:, :, 1:])
    refused("views on meta", views=views.to("meta"))
    refused("tables on", biases=[None, biases[1].to("meta"), None])
    for row, label in ((5, 0), (0, len(order)), (-1, 0), (0, -1)):
        with pytest.raises(DataError, match="excluded pairs"):
            exclude = Positives(torch.tensor([row]), torch.tensor([label]))
            beam_topk(views, weights, biases, offsets, order, (1, 1), 1, exclude=exclude)
