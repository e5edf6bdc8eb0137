"""The summed losses over all labels against dense float64 autograd, torch.optim.SGD and AdamW."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from megalabel.errors import DataError, SettingError
from megalabel.kernels.all_labels_loss import AdamRule, SGDRule, all_labels_loss, plain
from megalabel.kernels.label_loss import LOSSES
from megalabel.types import Positives

SHAPES = [(1, 1, 1), (1, 53, 5), (7, 53, 5), (7, 1, 3), (3, 300, 17)]
CHUNKS = [1, 8, 53, 1000, None]


@pytest.fixture(autouse=True, params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Memory that torch.empty hands out is full of NaN: what is read before it is written shows."""
    torch.use_deterministic_algorithms(True)  # which also fills fresh memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def problem(
    shape: tuple[int, int, int], seed: int, dtype: torch.dtype = torch.float64, bias: bool = True
) -> tuple[Tensor, Tensor, Tensor | None, Positives]:
    n, n_labels, dim = shape
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=random, dtype=dtype).requires_grad_()
    weight = torch.randn(n_labels, dim, generator=random, dtype=dtype).requires_grad_()
    b = torch.randn(n_labels, generator=random, dtype=dtype).requires_grad_() if bias else None
    pairs = (torch.rand(n, n_labels, generator=random) < 0.2).nonzero()
    return x, weight, b, Positives.of(pairs[:, 0], pairs[:, 1])


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradients_equal_dense_autograd(shape, chunk, bias, loss, seed):
    x, weight, b, positives = problem(shape, seed, bias=bias)
    inputs = [t for t in (x, weight, b) if t is not None]
    ours = all_labels_loss(x, weight, b, positives, loss=loss, scale=0.25, chunk=chunk)
    truth = 0.25 * plain(x, weight, b, positives, loss)
    close(ours, truth)
    for a, e in zip(torch.autograd.grad(3 * ours, inputs), torch.autograd.grad(3 * truth, inputs), strict=True):
        close(a, e)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss, seed):
    x, weight, b, positives = problem((4, 9, 3), seed)

    def ours(*inputs: Tensor) -> Tensor:
        return all_labels_loss(*inputs, positives, loss=loss, chunk=4)

    assert torch.autograd.gradcheck(ours, (x, weight, b))


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.0, 0.1), (0.9, 0.0), (0.9, 0.1)])
def test_the_rule_is_torch_sgd(momentum, decay, bias, chunk, seed):
    x, weight, b, positives = problem((5, 53, 4), seed, bias=bias)
    theirs = [t.detach().clone().requires_grad_() for t in (weight, b) if t is not None]
    groups = [{"params": theirs[:1], "weight_decay": decay}, {"params": theirs[1:]}]
    sgd = torch.optim.SGD([g for g in groups if g["params"]], lr=0.05, momentum=momentum)
    rule = SGDRule(lr=0.05, momentum=momentum, weight_decay=decay)
    for _ in range(4):
        truth = plain(x, theirs[0], theirs[1] if bias else None, positives)
        (expected,) = torch.autograd.grad(truth, x, retain_graph=True)
        sgd.zero_grad()
        truth.backward(inputs=theirs)
        sgd.step()
        ours = all_labels_loss(x, weight, b, positives, rule=rule, chunk=chunk)
        close(ours, truth)
        (found,) = torch.autograd.grad(ours, x)  # from the weights before the update
        close(found, expected)
        close(weight, theirs[0])
        if b is not None:
            close(b, theirs[1])
    assert weight.grad is None
    assert (rule.buffer is not None) == (momentum > 0)
    assert (rule.bias_buffer is not None) == (momentum > 0 and bias)


@pytest.mark.parametrize("chunk", [8, None])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_rule_is_torch_adamw(loss, decay, bias, chunk, seed):
    x, weight, b, positives = problem((5, 53, 4), seed, bias=bias)
    theirs = [t.detach().clone().requires_grad_() for t in (weight, b) if t is not None]
    groups = [{"params": theirs[:1], "weight_decay": decay}, {"params": theirs[1:], "weight_decay": 0.0}]
    adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.05, eps=1e-3)
    rule = AdamRule(lr=0.05, eps=1e-3, weight_decay=decay)
    for _ in range(4):
        truth = 0.1 * plain(x, theirs[0], theirs[1] if bias else None, positives, loss)
        (expected,) = torch.autograd.grad(truth, x, retain_graph=True)
        adam.zero_grad()
        truth.backward(inputs=theirs)
        adam.step()
        ours = all_labels_loss(x, weight, b, positives, loss=loss, scale=0.1, rule=rule, chunk=chunk)
        close(ours, truth)
        (found,) = torch.autograd.grad(ours, x)  # from the weights before the update
        close(found, expected)
        close(weight, theirs[0])
        if b is not None:
            close(b, theirs[1])
    assert weight.grad is None
    assert rule.steps == 4
    assert rule.gradient is None


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_micro_batches_equal_one_batch(momentum, seed):
    x, weight, b, positives = problem((6, 53, 4), seed)
    weight2, b2 = weight.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    whole = SGDRule(lr=0.05, momentum=momentum, weight_decay=0.1)
    parts = SGDRule(lr=0.05, momentum=momentum, weight_decay=0.1)
    for _ in range(3):
        all_labels_loss(x, weight, b, positives, rule=whole).backward()
        before = weight2.detach().clone()
        for part in range(3):
            mine = (positives.rows // 2) == part
            piece = Positives(positives.rows[mine] - 2 * part, positives.labels[mine])
            parts.first, parts.last = part == 0, part == 2
            assert torch.equal(weight2, before)
            loss = all_labels_loss(x[2 * part : 2 * part + 2], weight2, b2, piece, rule=parts, chunk=10)
            loss.backward()
        close(weight2, weight)
        close(b2, b)


def test_the_scale_of_a_loss_scaler_reaches_the_embedding_alone(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    weight2, b2 = weight.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    plainly = all_labels_loss(x, weight, b, positives, rule=SGDRule(lr=0.1, momentum=0.9))
    rule = SGDRule(lr=0.1, momentum=0.9, loss_scale=1024.0)
    scaled = 1024 * all_labels_loss(x, weight2, b2, positives, rule=rule)
    (g1,) = torch.autograd.grad(plainly, x)
    (g2,) = torch.autograd.grad(scaled, x)
    close(g2, 1024 * g1)
    assert torch.equal(weight, weight2)
    assert torch.equal(b, b2)


@pytest.mark.parametrize("rule", [SGDRule(lr=0.1), AdamRule(lr=0.1, eps=1.0)], ids=["sgd", "adam"])
def test_a_factor_of_the_loss_reaches_weights_too(rule, seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    weight2, b2 = weight.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    other, rule = copy.deepcopy(rule), copy.deepcopy(rule)
    all_labels_loss(x, weight, b, positives, scale=0.5, rule=rule).backward()
    other.loss_scale = 1024.0
    (0.5 * 1024 * all_labels_loss(x, weight2, b2, positives, rule=other)).backward()
    close(weight, weight2)
    close(b, b2)
    assert not torch.equal(b, problem((5, 20, 4), seed)[2])


def test_duplicates_count_once_in_any_order(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    order = torch.randperm(2 * len(positives), generator=torch.Generator().manual_seed(seed))
    messy = Positives(positives.rows.repeat(2)[order], positives.labels.repeat(2)[order])
    a = torch.autograd.grad(all_labels_loss(x, weight, b, messy, chunk=7), (x, weight, b))
    e = torch.autograd.grad(all_labels_loss(x, weight, b, positives, chunk=7), (x, weight, b))
    for i, j in zip(a, e, strict=True):
        assert torch.equal(i, j)


def test_no_positives_and_rows_without_any(seed):
    x, weight, b, _ = problem((5, 20, 4), seed)
    none = torch.empty(0, dtype=torch.int64)
    for positives in (Positives(none, none), Positives.of(torch.tensor([3]), torch.tensor([19]))):
        ours, truth = all_labels_loss(x, weight, b, positives), plain(x, weight, b, positives)
        close(ours, truth)
        for i, j in zip(
            torch.autograd.grad(ours, (x, weight)), torch.autograd.grad(truth, (x, weight)), strict=True
        ):
            close(i, j)


def test_embeddings_and_weights_that_are_not_contiguous(seed):
    x, weight, _, positives = problem((5, 20, 4), seed)
    views = torch.stack([x.detach(), x.detach()], dim=-1).requires_grad_()
    w = weight.detach().t().contiguous().t().requires_grad_()
    ours = all_labels_loss(views[..., 1], w, None, positives, chunk=6)
    truth = plain(x, weight, None, positives)
    close(ours, truth)
    ours.backward()
    truth.backward()
    close(views.grad[..., 1], x.grad)
    close(w.grad, weight.grad)


def test_an_empty_batch(seed):
    _, weight, b, _ = problem((5, 20, 4), seed)
    none = torch.empty(0, dtype=torch.int64)
    x = torch.empty(0, 4, dtype=torch.float64, requires_grad=True)
    loss = all_labels_loss(x, weight, b, Positives(none, none))
    loss.backward()
    assert loss == 0
    assert x.grad.shape == (0, 4)
    assert (weight.grad == 0).all()


def test_an_unwanted_value_is_nan_but_trains(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    loss = all_labels_loss(x, weight, b, positives, value=False)
    assert loss.isnan()
    expected = torch.autograd.grad(plain(x, weight, b, positives), (x, weight, b))
    for i, j in zip(torch.autograd.grad(loss, (x, weight, b)), expected, strict=True):
        close(i, j)
    with torch.no_grad():
        close(all_labels_loss(x, weight, b, positives, value=False), plain(x, weight, b, positives))


def test_without_gradients_a_rule_changes_nothing(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    before = weight.detach().clone()
    with torch.no_grad():
        all_labels_loss(x, weight, b, positives, rule=SGDRule(lr=1.0, momentum=0.9))
    assert torch.equal(weight, before)


def test_frozen_embeddings_still_train_the_weights(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    w2, b2 = weight.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    all_labels_loss(x, weight, b, positives, rule=SGDRule(lr=0.1)).backward()
    all_labels_loss(x.detach(), w2, b2, positives, rule=SGDRule(lr=0.1)).backward()
    assert torch.equal(weight, w2)


def as_good_as_plain(ours: Tensor, theirs: Tensor, truth: Tensor, slack: float) -> None:
    """`ours` may miss `truth` by what plain arithmetic of the same precision misses it, plus `slack`."""
    scale = truth.abs().max()
    excess = ((ours.double() - truth).abs().max() - (theirs.double() - truth).abs().max()) / scale
    assert excess <= slack, f"errs by {excess:.1e} of the largest value more than plain arithmetic does"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("chunk", [7, None])
@pytest.mark.parametrize(
    ("dtype", "slack"), [(torch.float32, 3e-7), (torch.bfloat16, 8e-3), (torch.float16, 1e-3)]
)
def test_narrow_products_err_no_more_than_plain_ones(dtype, slack, chunk, loss, seed):
    x, weight, _, positives = problem((9, 70, 33), seed, torch.float32, bias=False)
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    truth = torch.autograd.grad(plain(wide[0], wide[1], None, positives, loss), wide)
    narrow = [t.detach().to(dtype).requires_grad_() for t in (x, weight)]
    theirs = torch.autograd.grad(plain(narrow[0], narrow[1], None, positives, loss), narrow)
    found = all_labels_loss(x, weight, None, positives, loss=loss, compute_dtype=dtype, chunk=chunk)
    ours = torch.autograd.grad(found, (x, weight))
    for o, p, t in zip(ours, theirs, truth, strict=True):
        assert o.dtype == torch.float32
        as_good_as_plain(o, p, t, slack)


def test_the_loss_scale_saves_small_float16_gradients(seed):
    n, n_labels, dim = 2, 4, 3
    x = torch.full((n, dim), -10.0, requires_grad=True)
    weight = torch.full((n_labels, dim), 0.4, requires_grad=True)  # sigmoid(−12) · 0.4 is subnormal in float16
    weight.data *= 1e-3
    bias = torch.full((n_labels,), -12.0)
    none = torch.empty(0, dtype=torch.int64)
    loss = all_labels_loss(x, weight, bias, Positives(none, none), compute_dtype=torch.float16)
    (scaled,) = torch.autograd.grad(2.0**14 * loss, x)
    expected = n_labels * torch.sigmoid(torch.tensor(-12.012)) * 0.0004
    torch.testing.assert_close(scaled / 2**14, expected.expand(n, dim), rtol=1e-2, atol=0)


def test_narrow_embeddings_get_gradients_of_their_own_type(seed):
    x, weight, b, positives = problem((5, 20, 4), seed, torch.float32)
    narrow = x.detach().bfloat16().requires_grad_()
    all_labels_loss(narrow, weight, b, positives).backward()
    assert narrow.grad.dtype == torch.bfloat16
    assert weight.grad.dtype == torch.float32


def test_autocast_does_not_reach_inside(seed):
    x, weight, b, positives = problem((5, 20, 4), seed, torch.float32)
    expected = all_labels_loss(x, weight, b, positives)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(all_labels_loss(x, weight, b, positives), expected)


@pytest.mark.parametrize(
    "rule_of_a_run",
    [SGDRule(lr=0.01, momentum=0.9, weight_decay=0.01), AdamRule(lr=0.01, weight_decay=0.01)],
    ids=["sgd", "adam"],
)
def test_repeated_runs_give_the_same_bits(rule_of_a_run, seed):
    def run() -> list[Tensor]:
        x, weight, b, positives = problem((33, 700, 19), seed, torch.float32)
        rule = copy.deepcopy(rule_of_a_run)
        for _ in range(3):
            x.grad = None
            loss = all_labels_loss(x, weight, b, positives, rule=rule, chunk=50)
            loss.backward()
        return [loss, x.grad, weight, b, *rule.beside_weight()]

    for a, e in zip(run(), run(), strict=True):
        assert torch.equal(a, e)


@pytest.mark.parametrize("where", ["x", "weight"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_divergence_is_said(where, bad, seed):
    x, weight, _, positives = problem((5, 20, 4), seed, torch.float32)
    (x if where == "x" else weight).data[1, 2] = bad
    with pytest.raises(SettingError, match=r"diverged.*lower the learning rate"):
        all_labels_loss(x, weight, None, positives, rule=SGDRule(lr=0.1), value=False).backward()


def test_nan_embeddings_leave_the_weights_alone(seed):
    x, weight, _, positives = problem((5, 20, 4), seed)
    before = weight.detach().clone()
    x.data[0, 0] = float("nan")
    with pytest.raises(SettingError, match="diverged"):
        all_labels_loss(x, weight, None, positives, rule=SGDRule(lr=0.1)).backward()
    assert torch.equal(weight, before)


def test_an_upstream_gradient_of_nan_leaves_the_weights_alone(seed):
    x, weight, _, positives = problem((5, 20, 4), seed)
    before = weight.detach().clone()
    loss = all_labels_loss(x, weight, None, positives, rule=AdamRule(lr=0.1))
    with pytest.raises(SettingError, match="diverged"):
        (float("nan") * loss).backward()
    assert torch.equal(weight, before)


def test_float16_leaves_inf_to_the_scaler(seed):
    x, weight, _, positives = problem((5, 20, 4), seed, torch.float32, bias=False)
    loss = all_labels_loss(x, weight, None, positives, compute_dtype=torch.float16, value=False)
    (g,) = torch.autograd.grad(2.0**30 * loss, x)
    assert not g.isfinite().all()


@pytest.mark.parametrize("pair", [(0, 20), (5, 0), (-1, 0), (0, -1)])
def test_pairs_out_of_range(pair, seed):
    x, weight, _, _ = problem((5, 20, 4), seed)
    with pytest.raises(DataError, match="among the positives"):
        all_labels_loss(x, weight, None, Positives(torch.tensor([pair[0]]), torch.tensor([pair[1]])))


def test_settings_that_do_not_fit(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    with pytest.raises(SettingError, match="same D"):
        all_labels_loss(x[:, :3], weight, b, positives)
    with pytest.raises(SettingError, match="a bias"):
        all_labels_loss(x, weight, b[:3], positives)
    with pytest.raises(SettingError, match="chunk=0"):
        all_labels_loss(x, weight, b, positives, chunk=0)
    with pytest.raises(SettingError, match="compute_dtype"):
        all_labels_loss(x, weight, b, positives, compute_dtype=torch.int8)
    with pytest.raises(SettingError, match="float32"):
        all_labels_loss(x, weight.half(), None, positives)
    with pytest.raises(SettingError, match="loss='hinge'"):
        all_labels_loss(x, weight, b, positives, loss="hinge")
    with pytest.raises(SettingError, match="scale=inf"):
        all_labels_loss(x, weight, b, positives, scale=float("inf"))
    with pytest.raises(DataError, match="two vectors"):
        all_labels_loss(x, weight, b, Positives(torch.zeros(3, dtype=torch.int64), torch.zeros(2).long()))


def test_a_buffer_of_another_head_is_refused(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    rule = SGDRule(lr=0.1, momentum=0.9, buffer=torch.zeros(19, 4))
    with pytest.raises(SettingError, match="optimiser's buffer"):
        all_labels_loss(x, weight, b, positives, rule=rule).backward()
