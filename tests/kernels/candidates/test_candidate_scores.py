"""Scores and loss over candidates against loops in float64."""

from __future__ import annotations

import pytest
import torch
from support.candidate_cases import Case, case, close, positives_of, slow_bce

from megalabel.kernels.candidates._cpu import candidate_scores as body
from megalabel.kernels.candidates.candidate_scores import candidate_bce, candidate_scores, plain_bce
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.types import Positives

DTYPES = [torch.float32, torch.float64]  # numba, and the plain version


pytestmark = pytest.mark.usefixtures("threads", "poisoned")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    c = case(0)
    candidate_scores(*c.of(torch.float32), c.candidates)
    candidate_bce(*c.of(torch.float32), c.candidates, c.positives, 1.0)


def equals_the_loops(c: Case, dtype: torch.dtype, with_bias: bool = True, scale: float = 0.25) -> None:
    slow = slow_bce(c, scale, with_bias)
    views, weight, bias = c.of(dtype)
    own_bias = bias if with_bias else None
    close(candidate_scores(views, weight, own_bias, c.candidates), slow.logits)
    value, logits, gradient = candidate_bce(views, weight, own_bias, c.candidates, c.positives, scale)
    assert value.dtype == logits.dtype == gradient.cells.dtype == dtype
    close(value, slow.value)
    close(logits, slow.logits)
    close(gradient.cells, slow.cells)
    (3 * value).backward()  # as a level's weight, or a loss scale
    close(views.grad, 3 * slow.views)
    close(gradient.cells, 3 * slow.cells)
    for found, expected in zip(gradient.dense(len(weight)), (slow.weight, slow.bias), strict=True):
        close(found, 3 * expected)
    assert not gradient.views.requires_grad
    assert not logits.requires_grad


@pytest.mark.pairwise("threads", dim=[1, 3, 7, 33, 384], with_bias=[True, False], dtype=DTYPES, threads=[1, 2])
def test_everything_equals_the_loops(dim, with_bias, dtype, seed):
    equals_the_loops(case(seed, dim=dim), dtype, with_bias)


@pytest.mark.pairwise("threads", widest=[1, 2, 16, 17, 40], dtype=DTYPES, threads=[1, 2])
def test_blocks_of_any_length(widest, dtype, seed):
    equals_the_loops(case(seed, nodes=5, widest=widest), dtype)


@pytest.mark.pairwise("threads", share=[0.0, 1.0], dtype=DTYPES, threads=[1, 2])
def test_no_candidates_and_all_of_them(share, dtype, seed):
    equals_the_loops(case(seed, share=share), dtype)


@pytest.mark.pairwise("threads", batch=[0, 1], dtype=DTYPES, threads=[1, 2])
def test_batches_of_none_and_one(batch, dtype, seed):
    equals_the_loops(case(seed, batch=batch, share=0.8), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_rows_equal_the_dense_loss(dtype, seed):
    c = case(seed)
    views, weight, bias = c.of(dtype)
    target = torch.zeros(len(views), len(weight), dtype=dtype)
    target[c.positives.rows, c.positives.labels] = 1
    dense = torch.nn.functional.linear(views, weight, bias)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(dense, target, reduction="sum")
    every = Candidates.all_rows(len(views), len(weight))
    value, logits, _ = candidate_bce(views, weight, bias, every, c.positives, 1.0)
    close(value, loss.detach().double())
    close(logits, dense.detach().double().flatten())
    close(*(torch.autograd.grad(v, views)[0] for v in (value, loss)))


def test_gradients_are_those_of_the_value(seed):
    c = case(seed, batch=3, dim=3, nodes=4)
    views, weight, bias = c.of(torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: candidate_bce(x, weight, bias, c.candidates, c.positives, 0.3)[0], (views,)
    )


def test_the_plain_expression_has_the_same_gradients(seed):
    c = case(seed)
    slow = slow_bce(c, 0.25)
    inputs = [x.requires_grad_() for x in c.of(torch.float64)]
    value = plain_bce(*inputs, c.candidates, c.positives, 0.25)
    close(value, slow.value)
    for found, expected in zip(
        torch.autograd.grad(value, inputs), (slow.views, slow.weight, slow.bias), strict=True
    ):
        close(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_far_from_zero(dtype):
    """Neither inf nor a small gradient lost in a difference."""
    logits = [-200.0, -100.0, -40.0, -20.0, 0.0, 20.0, 40.0, 100.0, 200.0]
    weight = torch.tensor(logits, dtype=dtype)[:, None]
    views = torch.ones(2, 1, dtype=dtype)
    every = Candidates.all_rows(2, len(logits))
    ones = positives_of({(0, row) for row in range(len(logits))})
    value, _, gradient = candidate_bce(views, weight, None, every, ones, 1.0)
    z = torch.tensor(logits, dtype=torch.float64)
    close(value, 2 * float(torch.nn.functional.softplus(z).sum() - z.clamp_min(0).sum() + z.abs().sum() / 2))
    of_ones, of_zeros = gradient.cells.double().view(2, -1)
    torch.testing.assert_close(of_zeros, z.sigmoid(), rtol=1e-6, atol=1e-37)
    if dtype == torch.float32:  # the plain version takes the difference
        torch.testing.assert_close(of_ones, -(-z).sigmoid(), rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("dtype", DTYPES)
def test_positives_twice_unsorted_or_no_candidates(dtype, seed):
    c = case(seed)
    positives = c.positives
    order = torch.randperm(2 * len(positives), generator=torch.Generator().manual_seed(seed))
    messy = Positives(positives.rows.repeat(2)[order], positives.labels.repeat(2)[order])
    first, second = (candidate_bce(*c.of(dtype), c.candidates, p, 1.0) for p in (positives, messy))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[2].cells, second[2].cells)
    listed = {(b, row) for b, own in enumerate(c.blocks) for start, end in own for row in range(start, end)}
    third = candidate_bce(*c.of(dtype), c.candidates, positives_of(c.pairs & listed), 1.0)
    assert torch.equal(first[2].cells, third[2].cells)


@pytest.fixture
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums in 16 parts, as large problems have them."""
    monkeypatch.setattr(body, "_PART_WORK", 1)


@pytest.mark.usefixtures("many_parts")
@pytest.mark.parametrize("widest", [1, 9, 300])
def test_many_parts_equal_the_loops(widest, seed):
    equals_the_loops(case(seed, nodes=5, widest=widest, batch=5), torch.float32)


@pytest.mark.usefixtures("many_parts")
def test_the_same_bits_whatever_the_threads(seed):
    c = case(seed, batch=17, dim=33, nodes=40)

    def run(count: int) -> list[torch.Tensor]:
        torch.set_num_threads(count)
        views, weight, bias = c.of(torch.float32)
        value, logits, gradient = candidate_bce(views, weight, bias, c.candidates, c.positives, 0.1)
        value.backward()
        return [value, logits, gradient.cells, views.grad, candidate_scores(views, weight, bias, c.candidates)]

    for found in (run(2), run(5)):
        for a, e in zip(found, run(1), strict=True):
            assert torch.equal(a, e)


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_of_different_texts_may_overlap(dtype, seed):
    """Not in a step of the table, but they can be scored."""
    c = case(seed, batch=4)
    c.blocks = [[(0, 4), (5, 7)], [(0, 3)], [(2, 6)], [(0, 4), (6, 7)]]
    equals_the_loops(c, dtype)


def test_the_products_of_a_whole_table_have_the_same_bits_whatever_the_threads():
    """Fewer texts than a chunk and many rows: where torch's own product would share one sum among its threads."""
    generator = torch.Generator().manual_seed(0)
    views, weight = torch.randn(20, 256, generator=generator), torch.randn(4096, 256, generator=generator) / 16
    candidates, positives = (
        Candidates.all_rows(20, 4096),
        Positives.from_pairs(torch.arange(20), torch.arange(20) * 7),
    )
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            x = views.clone().requires_grad_()
            value, logits, gradient = candidate_bce(x, weight, None, candidates, positives, 0.1)
            value.backward()
            found.append([logits, gradient.cells, x.grad])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
