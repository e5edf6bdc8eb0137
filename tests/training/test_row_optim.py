"""Row optimizers against torch's, and what they keep."""

import copy

import numpy as np
import pytest
import torch

from megalabel.errors import SettingError
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.labels.tree import LabelTree
from megalabel.training.optim.groups import Optimizers
from megalabel.training.optim.row_sparse import RowAdagrad, RowAdam, RowSGD
from megalabel.types import Positives

SCALER = torch.amp.GradScaler("cpu", enabled=False)
PAIRS = Positives.from_pairs(torch.tensor([0, 1, 2, 3, 3]), torch.tensor([1, 4, 0, 6, 2]))


def head(beams=(3,), **settings) -> CascadeHead:
    tree = LabelTree((np.array([0, 3, 5, 8]),), np.array([3, 1, 0, 7, 2, 5, 6, 4]))
    return CascadeHead(tree, 5, beams=beams, generator=torch.Generator().manual_seed(1), **settings)


def views(step: int) -> torch.Tensor:
    return torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("make", [RowAdam, RowSGD])
def test_where_every_row_is_a_candidate_they_are_torchs(make, decay):
    ours, theirs = head(), head()
    optimizer = make(ours, 0.05, decay)
    kinds = {RowAdam: torch.optim.AdamW, RowSGD: torch.optim.SGD}
    more = {"eps": 1e-6} if make is RowAdam else {}
    groups = [{"params": list(theirs.weights), "weight_decay": decay}, {"params": list(theirs.biases)}]
    reference = kinds[make](groups, lr=0.05, **({"weight_decay": 0.0} | more))
    for step in range(5):
        for one in (ours, theirs):
            one.loss(views(step), PAIRS).backward()
        optimizer.step()
        optimizer.zero_grad()
        reference.step()
        reference.zero_grad()
    assert ours.weights[0].grad is None
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_rows_that_are_no_candidates_stay_as_they_are():
    one = head(beams=(1,))
    optimizer = RowAdam(one, 0.05, 0.1)
    before = [p.detach().clone() for p in one.parameters()]
    positives = Positives.from_pairs(torch.tensor([0, 1]), torch.tensor([3, 1]))  # both in the first cluster
    one.loss(views(0)[:2], positives).backward()
    optimizer.step()
    assert not torch.equal(one.weights[1][:3], before[1][:3])
    assert torch.equal(one.weights[1][3:], before[1][3:])
    assert optimizer.state[1]["steps"].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def test_micro_batches_are_summed():
    """One step after two backward passes is a step with the sum of their gradients."""
    ours, theirs = head(reduction="sum"), head(reduction="sum")
    optimizers = Optimizers(head=RowAdam(ours, 0.05))
    reference = Optimizers(head=RowAdam(theirs, 0.05))
    x = views(0)
    for i, rows in enumerate((slice(0, 2), slice(2, 4))):
        inside = (PAIRS.rows >= rows.start) & (PAIRS.rows < rows.stop)
        ours.loss(x[rows], Positives(PAIRS.rows[inside] - rows.start, PAIRS.labels[inside])).backward()
        optimizers.begin(i, 2)
    optimizers.step(SCALER)
    theirs.loss(x, PAIRS).backward()
    reference.step(SCALER)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert ours.row_gradients == [[], []]


def test_a_loss_scale_is_taken_out_and_an_overflow_leaves_the_step_out():
    ours, theirs = head(), head()
    scaled, plain = RowSGD(ours, 0.05), RowSGD(theirs, 0.05)
    (ours.loss(views(0), PAIRS) * 1024).backward()
    scaled.step(1024.0)
    theirs.loss(views(0), PAIRS).backward()
    plain.step()
    torch.testing.assert_close(ours.weights[1], theirs.weights[1], rtol=1e-5, atol=1e-7)
    before = ours.weights[1].detach().clone()
    scaled.zero_grad()
    (ours.loss(views(1), PAIRS) * float("inf")).backward()
    scaled.step(1024.0)
    assert torch.equal(ours.weights[1], before)


@pytest.mark.parametrize("make", [RowAdam, RowAdagrad])
def test_state_is_saved_and_goes_on_to_the_bit(make):
    ours = head(beams=(2,))
    optimizer = make(ours, 0.05, 0.01)
    weights, state = None, None
    for step in range(6):
        if step == 3:
            weights, state = copy.deepcopy(ours.state_dict()), copy.deepcopy(optimizer.state_dict())
        ours.loss(views(step), PAIRS).backward()
        optimizer.step()
        optimizer.zero_grad()
    again = head(beams=(2,))
    again.load_state_dict(weights)
    other = make(again, 0.05, 0.01)
    other.load_state_dict(state)
    for step in range(3, 6):
        again.loss(views(step), PAIRS).backward()
        other.step()
        other.zero_grad()
    for a, b in zip(ours.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_adagrad_keeps_a_number_per_row_and_moves_candidates_alone():
    one = head(beams=(1,))
    optimizer = RowAdagrad(one, 0.05, 0.1)
    before = [p.detach().clone() for p in one.parameters()]
    positives = Positives.from_pairs(torch.tensor([0, 1]), torch.tensor([3, 1]))  # both in the first cluster
    one.loss(views(0)[:2], positives).backward()
    optimizer.step()
    assert (one.weights[1][:3] != before[1][:3]).any(1).all()
    assert torch.equal(one.weights[1][3:], before[1][3:])
    state = optimizer.state[1]
    assert {name: len(t) for name, t in state.items()} == {"total": 8, "bias_total": 8}
    assert (state["total"] > 0).tolist() == [True] * 3 + [False] * 5


def test_a_state_of_another_optimizer_is_refused():
    one = head()
    optimizer, other = RowAdagrad(one, 0.05), RowAdam(head(), 0.05)
    one.loss(views(0), PAIRS).backward()
    optimizer.step()
    other.load_state_dict(optimizer.state_dict())
    optimizer.load_state_dict({"state": [{"mean": w} for w in one.weights], "lr": 0.05})
    with pytest.raises(SettingError) as refused:
        optimizer.step()
    assert refused.value.where == "state"


def test_a_head_with_torchs_gradients_is_refused():
    with pytest.raises(SettingError, match="DenseHead does not keep"):
        RowAdam(DenseHead(3, 2), 0.1)
