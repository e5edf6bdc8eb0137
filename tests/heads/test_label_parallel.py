"""Labels divided among processes: weights, rankings and bytes of W processes, compared with those of one."""

from __future__ import annotations

import pytest
import torch
from support.parallel_heads import BATCH, BOUNDS, DIM, KINDS, N_LABELS, WORDS

from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.label_parallel import LabelParallel
from megalabel.types import Positives

TRAIN = "support.parallel_heads:trained"
BOUND = 1e-6  # of the largest number of a tensor; the order of the sums over labels and texts differs


@pytest.fixture(scope="module")
def alone(ranks):
    return ranks.run(1, TRAIN)[0]


@pytest.fixture(scope="module", params=[2, 3, 4])
def together(request, ranks):
    return ranks.run(request.param, TRAIN)


def test_weights_are_those_of_one_process_with_the_same_batches(alone, together):
    for kind in KINDS:
        ours, theirs = together[0][kind]["state"], alone[kind]["state"]
        assert list(ours) == list(theirs)
        for name, tensor in theirs.items():
            wanted, found = tensor.double(), ours[name].double()
            largest = float(wanted.abs().max()) if wanted.numel() else 0.0
            torch.testing.assert_close(found, wanted, rtol=0, atol=BOUND * largest, msg=f"{kind}: {name}")
        for rank in together:
            for name in [name for name in theirs if name.startswith("encoder.")]:
                assert torch.equal(rank[kind]["state"][name], ours[name])


def test_losses_and_metrics_are_those_of_one_process_in_every_process(alone, together):
    for kind in KINDS:
        for rank in together:
            assert rank[kind]["losses"] == pytest.approx(alone[kind]["losses"], rel=1e-5)
            assert rank[kind]["metrics"] == pytest.approx(alone[kind]["metrics"], rel=1e-5)


def test_rankings_are_those_of_one_process_in_every_process(alone, together):
    for kind in KINDS:
        for rank in together:
            ours, theirs = rank[kind]["top"], alone[kind]["top"]
            torch.testing.assert_close(ours.scores, theirs.scores, rtol=1e-5, atol=1e-5)
            apart = (theirs.scores[:, :-1] - theirs.scores[:, 1:]).abs() > 1e-4
            clear = torch.nn.functional.pad(apart, (1, 0), value=True) & torch.nn.functional.pad(apart, (0, 1))
            assert torch.equal(ours.ids[clear], theirs.ids[clear])


def test_bytes_of_a_step_are_those_of_the_formula_in_the_docs(together):
    size = len(together)
    encoder = WORDS * DIM + DIM * DIM + DIM + 3
    for rank, found in enumerate(together):
        own = BATCH // size + (rank < BATCH % size)
        assert found["dense"]["sent"] == {
            "gather": (size - 1) * -(-BATCH // size) * DIM * 4,
            "reduce_scatter": (BATCH - own) * DIM * 4,
            "encoder": 2 * (size - 1) * encoder * 4 // size,
            "sum": 2 * (size - 1) * 8 // size,
        }


@pytest.mark.parametrize("weights", ["float32", "float8"])
@pytest.mark.parametrize("width", [24, 7])
def test_initial_weights_of_a_part_are_those_of_the_whole_and_the_random_stream_goes_on(weights, width):
    torch.manual_seed(1)
    whole, after = DenseHead(53, width, weights=weights), torch.rand(1)
    for part in (range(0, 20), range(20, 53), range(5, 5)):
        torch.manual_seed(1)
        head = DenseHead(53, width, weights=weights, part=part)
        assert torch.equal(torch.rand(1), after)
        for ours, theirs in zip(head.state_dict().values(), whole.state_dict().values(), strict=True):
            assert torch.equal(ours.float(), theirs[part.start : part.stop].float())


def test_initial_connections_of_a_part_are_those_of_the_whole():
    torch.manual_seed(1)
    whole = SparseHead(70, 24, fan_in=5, group=16, seed=3)
    torch.manual_seed(1)
    head = SparseHead(70, 24, fan_in=5, group=16, seed=3, part=range(32, 70))
    assert torch.equal(head.inputs, whole.inputs[2:])
    assert torch.equal(head.weight, whole.weight[32:])


def test_one_process_is_the_head_itself():
    torch.manual_seed(1)
    head = DenseHead(9, 4, bias=True)
    parallel = LabelParallel(head, LabelShards.even(9, 1), World())
    views = torch.randn(3, 1, 4, requires_grad=True)
    pairs = Positives.from_pairs(torch.tensor([0, 2]), torch.tensor([8, 1]), torch.arange(3))
    gradients = [
        torch.autograd.grad(one.loss(views, pairs), [views, head.weight, head.bias]) for one in (head, parallel)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.equal(ours, theirs)
    order = torch.randperm(9)
    some = Positives.from_pairs(torch.tensor([0, 1]), torch.tensor([3, 4]))
    for arguments in ({}, {"exclude": some}, {"row_to_label": order}, {"exclude": some, "row_to_label": order}):
        ours, theirs = (one.topk(views.detach(), 12, **arguments) for one in (parallel, head))
        k = theirs.ids.shape[1]
        assert torch.equal(ours.ids[:, :k], theirs.ids)
        assert torch.equal(ours.scores[:, :k], theirs.scores)
        assert (ours.ids[:, k:] == -1).all()


def test_parts_that_do_not_fit_are_refused():
    shards = LabelShards.at(0, 4, 9)
    for head in (DenseHead(9, 4), DenseHead(9, 4, part=range(0, 5)), DenseHead(8, 4, part=range(0, 4))):
        with pytest.raises(SettingError):
            LabelParallel(head, shards, World(0, 2))
    for part in (range(3, 10), range(0, 9, 2), range(-1, 3)):
        with pytest.raises(SettingError):
            DenseHead(9, 4, part=part)
    with pytest.raises(SettingError):
        SparseHead(40, 8, fan_in=2, group=16, part=range(8, 40))
    parallel = LabelParallel(DenseHead(9, 4, part=range(0, 9)), LabelShards.at(0, 9), World())
    with pytest.raises(SettingError):  # without the texts of the batch
        parallel.loss(torch.zeros(2, 1, 4), Positives.from_pairs(torch.zeros(0), torch.zeros(0)))


def test_shards_of_the_tests_hold_every_label():
    assert all(LabelShards(bounds).n_labels == N_LABELS for bounds in BOUNDS.values())
