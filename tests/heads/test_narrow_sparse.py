"""A sparse head whose weights are stored in a narrow type: in training, rewiring, search and files."""

from __future__ import annotations

import copy

import pytest
import torch
from heads.battery import DIM, N_LABELS, planted_views
from heads.sparse_cases import make

from megalabel.errors import SettingError
from megalabel.heads.dense import DenseHead
from megalabel.heads.label_layer import label_layer
from megalabel.heads.rewiring import Rewiring
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.kernels.core.dtypes import weight_type
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import integers
from megalabel.storage.tensors import fill, save_tensors
from megalabel.testing import check_head
from megalabel.training.optim.fused import FusedAdagrad, FusedAdam, FusedSGD

NARROW = ["bfloat16", "float8"]
OPTIMIZERS = {
    "sgd": lambda head: FusedSGD(head, 0.02, weight_decay=0.01),
    "momentum in bfloat16": lambda head: FusedSGD(head, 0.005, 0.9, momentum_dtype="bfloat16"),
    "adagrad": lambda head: FusedAdagrad(head, 0.05, 0.01),
}


def steps(head: SparseHead, first: int, stop: int) -> None:
    views, positives = planted_views(head)
    for step in range(first, stop):
        head.loss(views, positives).backward()
        head.after_step(step, None)


@pytest.mark.parametrize("weights", NARROW)
@pytest.mark.parametrize(
    "settings",
    [{"loss": "bce"}, {"group": 16, "loss": "bce", "rewiring": Rewiring(7, 40, prune="fraction")}],
    ids=["bce", "groups"],
)
def test_it_is_a_head_as_any_other(weights, settings):
    check_head(lambda: make(weights=weights, **settings))


@pytest.mark.parametrize("weights", NARROW)
def test_initial_weights_are_uniform_even_for_ten_million_labels(weights):
    head = SparseHead(3000, 70, fan_in=33, weights=weights, init_scale=1e-4)
    assert isinstance(head.table(), NarrowTable) and head.table().kind is weight_type(weights)
    values, limit = head.table().float(), 1e-4 / 33**0.5
    assert values.abs().max() <= limit * (1 + 2**-3)
    assert float(values.std()) == pytest.approx(limit / 3**0.5, rel=0.02)
    assert (values == 0).double().mean() < 1e-3


@pytest.mark.parametrize("weights", NARROW)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_follow_those_of_float32_weights(weights, optimizer):
    """Summed over many steps, the rounding errors of a head are small beside how far it moved."""
    narrow, wide = (make(loss="bce", weights=kind) for kind in (weights, "float32"))
    with torch.no_grad():
        wide.weight.copy_(narrow.table().float())
    start = narrow.table().float()
    for head in (narrow, wide):
        OPTIMIZERS[optimizer](head)
        steps(head, 0, 40)
    moved = wide.weight.detach() - start
    error = narrow.table().float() - wide.weight.detach()
    assert error.norm() < (0.1 if weights == "bfloat16" else 0.4) * moved.norm()


@pytest.mark.parametrize("weights", NARROW)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("regrow", ["random", "gradient"])
def test_a_resumed_run_is_rewired_and_ends_with_the_same_bits(weights, optimizer, regrow):
    rewiring = Rewiring(4, 40, prune="fraction", prune_fraction=0.3, regrow=regrow, regrow_init="uniform")
    ours, again = (make(loss="bce", weights=weights, rewiring=rewiring) for _ in range(2))
    rule = OPTIMIZERS[optimizer](ours)
    steps(ours, 0, 5)
    kept = copy.deepcopy(ours.state_dict()), copy.deepcopy(rule.state_dict())
    before = ours.get_buffer("inputs").clone()
    steps(ours, 5, 10)
    assert (ours.get_buffer("inputs") != before).any()
    again.load_state_dict(kept[0])
    OPTIMIZERS[optimizer](again).load_state_dict(kept[1])
    steps(again, 5, 10)
    for a, b in zip(ours.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
    if optimizer == "momentum in bfloat16":
        assert ours.update_rule.buffer.dtype == torch.bfloat16


@pytest.mark.parametrize("weights", NARROW)
def test_new_connections_begin_at_zero_without_momentum(weights):
    head = make(loss="bce", weights=weights, rewiring=Rewiring(3, 9, prune="fraction", prune_fraction=0.3))
    OPTIMIZERS["momentum in bfloat16"](head)
    steps(head, 0, 2)
    before = head.get_buffer("inputs").clone()
    steps(head, 2, 3)
    new = head.get_buffer("inputs") != before
    assert new.any()
    assert (head.table().float()[new] == 0).all()
    assert (head.update_rule.buffer[new] == 0).all()
    assert (head.update_rule.buffer[~new] != 0).any()


@pytest.mark.parametrize("weights", NARROW)
def test_a_saved_head_comes_back_as_it_is(weights, tmp_path):
    head = make(weights=weights)
    assert head.config()["weights"] == weights and weights in repr(head)
    save_tensors(tmp_path / "head.safetensors", head.state_dict())
    again = SparseHead.from_config(head.config())
    assert not again.table().float().any()
    fill(again, tmp_path / "head.safetensors", next_step="copy it")
    assert torch.equal(integers(head.weight), integers(again.weight))
    views, _ = planted_views(head)
    assert torch.equal(head.eval().topk(views, 5).ids, again.eval().topk(views, 5).ids)


@pytest.mark.parametrize("weights", NARROW)
def test_what_cannot_train_it_is_refused(weights):
    head = make(weights=weights)
    with pytest.raises(SettingError, match="FusedAdam for weights") as refused:
        FusedAdam(head, 0.1)
    assert refused.value.where == "weights"
    views, positives = planted_views(head)
    x = views.detach().requires_grad_()
    with pytest.raises(SettingError):
        head.loss(x, positives)
    head.eval().loss(x, positives).backward()
    assert x.grad is not None and x.grad.any()
    with pytest.raises(SettingError):
        make(weights="int4")


def test_scales_out_of_range_are_refused():
    head = make(weights="float8")
    head.weight_exponents[3] = 127
    with pytest.raises(SettingError) as refused:
        head.check_state()
    assert refused.value.where == "weight_exponents"


@pytest.mark.parametrize("fraction", [0.2, 1.0])
def test_the_dense_part_of_a_label_layer_has_the_same_type(fraction):
    import numpy as np

    head = label_layer(np.arange(N_LABELS), 100, DIM, dense_fraction=fraction, fan_in=4, weights="float8")
    parts = head.heads if isinstance(head, PartitionedHead) else [head]
    assert any(isinstance(part, DenseHead) for part in parts)
    assert {part.weight.dtype for part in parts} == {torch.float8_e4m3fn}
    FusedAdagrad(head, 0.1)
    views, positives = planted_views(head)
    before = [part.table().float() for part in parts]
    head.loss(views, positives).backward()
    assert all((part.table().float() != old).any() for part, old in zip(parts, before, strict=True))
