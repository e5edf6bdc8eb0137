"""A cascade with narrow weights: it trains, searches, is saved and resumes as with float32 weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from megalabel.errors import SettingError
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.cascade_levels import CascadeLevels
from megalabel.kernels.core.dtypes import weight_type
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.labels.tree import LabelTree
from megalabel.testing import check_head
from megalabel.training.optim.row_sparse import RowAdagrad, RowAdam, RowSGD
from megalabel.types import Positives

NARROW = ["bfloat16", "float8"]
PAIRS = Positives.from_pairs(torch.tensor([0, 1, 2, 3, 3]), torch.tensor([1, 4, 0, 6, 2]))


def head(weights: str, beams=(2,), dim=5, **settings) -> CascadeHead:
    tree = LabelTree((np.array([0, 3, 5, 8]),), np.array([3, 1, 0, 7, 2, 5, 6, 4]))
    generator = torch.Generator().manual_seed(1)
    return CascadeHead(tree, dim, beams=beams, generator=generator, weights=weights, **settings)


def widened(narrow: CascadeHead) -> CascadeHead:
    """The same head with float32 weights of the same values."""
    wide = head("float32", narrow.beams, narrow.dim)
    with torch.no_grad():
        for (to, to_bias), (table, bias) in zip(wide.tables(), narrow.tables(), strict=True):
            to.copy_(table.float())
            to_bias.copy_(bias)
    return wide


def views(step: int, dim: int = 5) -> torch.Tensor:
    return torch.randn(4, 2, dim, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("weights", NARROW)
def test_initial_weights_are_xaviers(weights):
    tree = LabelTree.from_clusters([[list(range(i, i + 10)) for i in range(0, 1000, 10)]])
    one = CascadeHead(tree, 24, beams=(5,), weights=weights)
    for (table, _), n in zip(one.tables(), one.sizes, strict=True):
        assert isinstance(table, NarrowTable) and table.kind is weight_type(weights)
        bound, values = (6 / (n + 24)) ** 0.5, table.float()
        assert values.abs().max() <= bound * (1 + 2**-7 if weights == "bfloat16" else 1 + 2**-3)
        assert float(values.std()) == pytest.approx(bound / 3**0.5, rel=0.05)


@pytest.mark.parametrize("weights", NARROW)
@pytest.mark.parametrize("path_score", ["label", "label*parent", "path", "decayed"])
def test_loss_and_search_are_those_of_the_widened_head(weights, path_score):
    narrow = head(weights, dim=33, path_score=path_score)
    for _, bias in narrow.tables():
        torch.nn.init.normal_(bias)
    wide = widened(narrow)
    wide.path_score = path_score
    x = views(0, 33)
    narrow.eval(), wide.eval()
    torch.testing.assert_close(narrow.loss(x, PAIRS), wide.loss(x, PAIRS))
    hidden = Positives.from_pairs(torch.tensor([0, 2]), torch.tensor([1, 5]))
    for exclude in (None, hidden):
        found, expected = narrow.topk(x, 4, exclude=exclude), wide.topk(x, 4, exclude=exclude)
        assert torch.equal(found.ids, expected.ids)
        torch.testing.assert_close(found.scores, expected.scores)
    for level in (0, 1):
        a, b = (CascadeLevels(one).topk(x, level, 3, path_score) for one in (narrow, wide))
        assert torch.equal(a.ids, b.ids)


@pytest.mark.parametrize("weights", NARROW)
@pytest.mark.parametrize("make", [RowSGD, RowAdagrad])
def test_steps_follow_those_of_float32_weights(weights, make):
    """Summed over many steps, the rounding errors of a head are small beside how far it moved."""
    narrow = head(weights, beams=(3,), dim=32, reduction="sum")
    wide = widened(narrow)
    wide.reduction = "sum"
    start = narrow.tables()[1][0].float()
    optimizers = [make(one, 0.02) for one in (narrow, wide)]
    for step in range(60):
        for one, optimizer in zip((narrow, wide), optimizers, strict=True):
            one.loss(views(step % 3, 32), PAIRS).backward()
            optimizer.step()
            optimizer.zero_grad()
    moved = wide.tables()[1][0].detach() - start
    error = narrow.tables()[1][0].float() - wide.tables()[1][0].detach()
    assert error.norm() < (0.1 if weights == "bfloat16" else 0.4) * moved.norm()


@pytest.mark.parametrize("weights", NARROW)
@pytest.mark.parametrize("make", [RowSGD, RowAdagrad])
def test_a_resumed_run_goes_on_to_the_bit(weights, make):
    ours = head(weights)
    optimizer = make(ours, 0.05, 0.01, seed=9)
    for step in range(6):
        if step == 3:
            kept = copy.deepcopy(ours.state_dict()), copy.deepcopy(optimizer.state_dict())
        ours.loss(views(step), PAIRS).backward()
        optimizer.step()
        optimizer.zero_grad()
    again = head(weights)
    other = make(again, 0.05, 0.01, seed=9)
    again.load_state_dict(kept[0])
    other.load_state_dict(kept[1])
    for step in range(3, 6):
        again.loss(views(step), PAIRS).backward()
        other.step()
        other.zero_grad()
    assert all(
        torch.equal(a.view(torch.uint8), b.view(torch.uint8))
        for a, b in zip(ours.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert int(other.state[1]["roundings"]) == 6


@pytest.mark.parametrize("weights", NARROW)
def test_what_cannot_train_it_is_refused(weights):
    one = head(weights)
    with pytest.raises(SettingError, match="RowAdam for weights"):
        RowAdam(one, 0.1)
    with pytest.raises(SettingError) as refused:
        one.loss(views(0).requires_grad_(), PAIRS)
    assert refused.value.where == "weights"
    x = views(0).requires_grad_()
    one.eval().loss(x, PAIRS).backward()
    assert x.grad is not None and x.grad.any()


def test_scales_out_of_range_are_refused():
    one = head("float8")
    one.get_buffer("exponents_1")[3] = 127
    with pytest.raises(SettingError) as refused:
        one.check_state()
    assert refused.value.where == "exponents_1"


@pytest.mark.parametrize("weights", NARROW)
def test_it_is_a_head_as_any_other(weights):
    check_head(lambda: head(weights, beams=(3,), dim=16))
