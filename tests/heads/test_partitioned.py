"""Labels in several heads: the battery, and the same answers, losses and gradients as one head over all labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from heads.battery import CHECKS, DIM, N_LABELS, N_TEXTS, planted_views
from heads.wrapped import cascade, dense, sparse, ties
from topk_agree import assert_topk_agree

from megalabel.errors import DataError, SettingError
from megalabel.heads.abilities import UpdatesInBackward, having
from megalabel.heads.label_layer import label_layer
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.kernels.fan_in.strongest_inputs import strongest_inputs
from megalabel.kernels.updates.rule import ONLY_PART
from megalabel.storage.tensors import fill, save_tensors
from megalabel.training.optim.fused import FusedSGD
from megalabel.types import Positives

ORDER = torch.randperm(N_LABELS, generator=torch.Generator().manual_seed(5))
FEW = 11


def mean_hinge(n_labels):
    return dense(n_labels, loss="squared_hinge", reduction="mean")


PARTS = {
    "one": lambda: [dense()],
    "two": lambda: [dense(FEW), dense(N_LABELS - FEW)],
    "dense and sparse": lambda: [mean_hinge(FEW), sparse(N_LABELS - FEW)],
    "sums": lambda: [dense(3), sparse(N_LABELS - 4, loss="bce"), dense(1)],
}


def make(parts="two"):
    return PartitionedHead(PARTS[parts](), ORDER)


def same(parted):
    """One dense head with the very rows of the parts."""
    one = dense(reduction=parted.parts[0].reduction, loss=parted.parts[0].loss_name)
    with torch.no_grad():
        one.weight[ORDER] = torch.cat([part.weight for part in parted.parts])
        one.bias[ORDER] = torch.cat([part.bias for part in parted.parts])
    return one


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_battery(check, parts):
    check(lambda: make(parts))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("sizes", [(N_LABELS,), (FEW, N_LABELS - FEW), (1, 30, N_LABELS - 31)])
def test_loss_and_gradients_are_those_of_one_head(sizes, reduction):
    parted = PartitionedHead([dense(n, reduction=reduction) for n in sizes], ORDER)
    one = same(parted)
    assert parted.reduction == one.reduction == reduction
    views, positives = planted_views(parted)
    found, expected = views.clone().requires_grad_(), views.clone().requires_grad_()
    loss, truth = parted.loss(found, positives), one.loss(expected, positives)
    torch.testing.assert_close(loss, truth)
    (loss + truth).backward()
    torch.testing.assert_close(found.grad, expected.grad)
    for name in ("weight", "bias"):  # sums over all texts, of up to 40
        of_parts = torch.cat([getattr(part, name).grad for part in parted.parts])
        torch.testing.assert_close(of_parts, getattr(one, name).grad[ORDER], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("k", [1, 4, FEW + 3, N_LABELS, N_LABELS + 5])
@pytest.mark.parametrize("tied", [False, True])
def test_topk_is_that_of_one_head(k, tied):
    parted = make()
    if tied:
        for part in parted.parts:
            ties(part)
    one = same(parted)
    views, positives = planted_views(parted)
    views = views.round() if tied else views  # so that the sums are exact
    every = Positives.from_pairs(torch.zeros(N_LABELS, dtype=torch.int64), torch.arange(N_LABELS))
    for exclude in (None, positives, every, Positives.from_pairs(torch.tensor([]), torch.tensor([]))):
        found, expected = parted.topk(views, k, exclude=exclude), one.topk(views, k, exclude=exclude)
        assert_topk_agree(found, expected)
        if tied:
            assert torch.equal(found.scores, expected.scores) and torch.equal(found.ids, expected.ids)
    if tied and 1 < k < N_LABELS:
        assert (expected.scores[:, 1:] == expected.scores[:, :-1]).any()


def test_ties_at_the_cut_of_a_sparse_part_go_to_the_lower_label():
    parted = PartitionedHead(
        [dense(FEW, loss="squared_hinge", reduction="mean"), sparse(N_LABELS - FEW, group=16)], ORDER
    )
    with torch.no_grad():
        for parameter in parted.parameters():
            parameter.zero_()
    views, _ = planted_views(parted)
    assert torch.equal(parted.topk(views, 6).ids, torch.arange(6).expand(N_TEXTS, 6))
    exclude = Positives.from_pairs(torch.tensor([4, 4]), torch.tensor([0, 2]))
    assert parted.topk(views, 4, exclude=exclude).ids[4].tolist() == [1, 3, 4, 5]


@pytest.mark.parametrize("parts", [[cascade()], [dense()], [sparse()]], ids=["cascade", "dense", "sparse"])
def test_one_part_answers_by_the_names_of_its_rows(parts):
    views, _ = planted_views(parts[0])
    parted = PartitionedHead(parts, ORDER)
    found, rows = parted.topk(views, 3), parts[0].topk(views, 3)
    assert torch.equal(found.ids, ORDER[rows.ids])
    assert torch.equal(found.scores, rows.scores)
    exclude = Positives.from_pairs(torch.arange(N_TEXTS), found.ids[:, 0])
    assert torch.equal(parted.topk(views, 2, exclude=exclude).ids[:, 0], found.ids[:, 1])


def test_every_part_learns_by_its_own_rule():
    parted = make("sums")
    views, positives = planted_views(parted)
    before = [part.weight.detach().clone() for part in parted.parts]
    optimizer = FusedSGD(parted, lr=0.05)
    optimizer.begin(ONLY_PART)
    parted.loss(views, positives).backward()
    assert having(parted, UpdatesInBackward) == list(parted.parts)
    for part, weight in zip(parted.parts, before, strict=True):
        assert part.weight.grad is None
        assert not torch.equal(part.weight, weight)
    parted.after_step(0, optimizer)


def test_hooks_and_metrics_reach_the_parts():
    class Counted(type(dense())):
        def metrics(self):
            return {"rows": float(self.n_labels), f"only {self.n_labels}": 1.0}

        def after_step(self, step, optimizers):
            self.seen = step

    parted = PartitionedHead([Counted(10, DIM), Counted(30, DIM)], ORDER)
    assert parted.metrics() == {"rows of part 0": 10, "only 10": 1, "rows of part 1": 30, "only 30": 1}
    parted.after_step(8, None)
    assert [part.seen for part in parted.parts] == [8, 8]


def test_each_part_starts_at_the_prior_of_its_labels():
    parted = make()
    counts = torch.arange(N_LABELS)
    parted.init_prior(counts, 100)
    one = dense()
    one.init_prior(counts, 100)
    assert torch.equal(torch.cat([part.bias for part in parted.parts]), one.bias[ORDER])
    with pytest.raises(SettingError, match="label counts"):
        parted.init_prior(counts[:-1], 100)
    with pytest.raises(SettingError, match="WithProjection"):
        PartitionedHead([WithProjection(dense(), DIM)], ORDER).init_prior(counts, 100)


@pytest.mark.parametrize("parts", PARTS)
def test_settings_build_it_again_with_its_order(parts):
    head = make(parts)
    other = PartitionedHead.from_config(json.loads(json.dumps(head.config())))
    other.load_state_dict(head.state_dict())
    views, _ = planted_views(head)
    assert torch.equal(other.order, ORDER)
    assert torch.equal(other.topk(views, 5).ids, head.topk(views, 5).ids)
    assert [type(part) for part in other.parts] == [type(part) for part in head.parts]


def test_another_order_loaded_after_an_answer_counts():
    head, other = make(), PartitionedHead(PARTS["two"](), torch.arange(N_LABELS))
    views, _ = planted_views(head)
    assert not torch.equal(other.topk(views, 5).ids, head.topk(views, 5).ids)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.topk(views, 5).ids, head.topk(views, 5).ids)


def test_another_order_read_from_a_file_after_an_answer_counts(tmp_path):
    head, other = make(), PartitionedHead(PARTS["two"](), torch.arange(N_LABELS))
    views, _ = planted_views(head)
    other.topk(views, 5)
    save_tensors(tmp_path / "head", head.state_dict())
    fill(other, tmp_path / "head", next_step="-")
    assert torch.equal(other.topk(views, 5).ids, head.topk(views, 5).ids)


def test_a_head_made_in_inference_mode_answers():
    expected = make()
    views, _ = planted_views(expected)
    with torch.inference_mode():
        head = make()
        head.load_state_dict(expected.state_dict())
        assert torch.equal(head.topk(views, 5).ids, expected.topk(views, 5).ids)


def test_a_share_that_rounds_to_all_labels_leaves_one_to_the_sparse_part():
    head = label_layer(np.arange(50), 100, DIM, None, 0.999, fan_in=4)
    assert [part.n_labels for part in head.parts] == [49, 1]


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        (lambda: [], "no heads"),
        (lambda: [dense(10), mean_hinge(30)], "a mean beside one with loss a sum"),
        (lambda: [dense(10), dense(30, DIM + 1)], f"width {DIM + 1} beside one with width {DIM}"),
        (lambda: [dense(10), cascade(30, n_views=2)], "views 2 beside one with views 1"),
    ],
)
def test_parts_that_do_not_fit(parts, match):
    with pytest.raises(SettingError, match=match):
        PartitionedHead(parts(), ORDER)


@pytest.mark.parametrize(
    "order", [ORDER[:-1], ORDER.int(), ORDER.float(), ORDER.clamp(min=1), ORDER - 1, ORDER[None]]
)
def test_orders_that_do_not_fit(order):
    with pytest.raises(SettingError, match=r"order: an order .*permutation"):
        PartitionedHead(PARTS["two"](), order)


def test_every_sparse_part_chooses_its_connections():
    parts = [dense(loss="squared_hinge", reduction="mean"), sparse(init_connections="texts")]
    head = PartitionedHead(parts, torch.arange(2 * N_LABELS).flip(0))
    views, positives = planted_views(parts[0])
    head.refresh(lambda: (views, positives))
    upper = Positives.from_pairs(positives.rows, N_LABELS - 1 - positives.labels)
    assert torch.equal(head.heads[1].inputs, strongest_inputs(views[:, 0], upper, N_LABELS, 8))


def test_a_state_whose_places_are_not_one_each_is_refused():
    head = PartitionedHead([dense(), dense()], torch.arange(2 * N_LABELS))
    with pytest.raises(SettingError, match="not a permutation"):
        head.load_state_dict({**head.state_dict(), "label_to_row": torch.zeros(2 * N_LABELS, dtype=torch.int64)})


def test_labels_that_are_not_there_are_never_excluded_in_silence():
    with pytest.raises(DataError, match=str(N_LABELS)):
        make().topk(
            planted_views(make())[0], 3, exclude=Positives.from_pairs(torch.tensor([0]), torch.tensor([N_LABELS]))
        )


def test_order_from_numpy():
    order = np.random.default_rng(0).permutation(N_LABELS)
    assert torch.equal(PartitionedHead([dense()], torch.from_numpy(order)).order, torch.from_numpy(order))
