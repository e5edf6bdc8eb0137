"""Loss and top k over all labels on a GPU: run by scripts/gpu where there is one, left out elsewhere."""

from dataclasses import replace

import pytest
import torch

from megalabel.kernels.all_labels import label_loss
from megalabel.kernels.all_labels.all_labels_loss import all_labels_loss, plain
from megalabel.kernels.all_labels.implementation import pass_for, topk_for
from megalabel.kernels.all_labels.streaming_topk import plain_of, streaming_topk
from megalabel.kernels.core.dtypes import BFLOAT16, FLOAT8
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw, integers
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.kernels.updates.rule import StepContext
from megalabel.kernels.updates.sgd_rule import SGDRule
from megalabel.types import Positives

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

SHAPES = [(9, 1003, 32), (131, 3001, 300), (64, 640, 768), (1, 5, 1)]  # texts, labels, width
RULES = [
    SGDRule(0.01, 0.0, 0.1),
    SGDRule(0.01, 0.9, 0.1),
    AdamRule(0.01, eps=1e-3, weight_decay=0.1),
    NarrowSGDRule(0.01, 0.9, 0.1),
]


@pytest.fixture
def poisoned():
    """Memory that torch.empty hands out is full of NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def near(found, expected, coarse=1.0):
    found, expected = found.cpu().double(), expected.cpu().double()
    torch.testing.assert_close(
        found, expected, rtol=coarse * 1e-4, atol=coarse * 1e-5 * float(expected.abs().max())
    )


def layer(shape, dtype=torch.float32):
    n_texts, n, dim = shape
    random = torch.Generator().manual_seed(n)
    x, weight, bias = (torch.randn(s, generator=random) for s in ((n_texts, dim), (n, dim), (n,)))
    pairs = torch.randint(n_texts * n, (4 * n_texts,), generator=random)
    positives = Positives.from_pairs(pairs // n, pairs % n)
    positives = Positives(positives.rows, positives.labels, weights=torch.rand(n_texts, generator=random))
    return x.to(dtype), (weight / dim**0.5).to(dtype), bias.to(dtype), positives


@pytest.mark.parametrize("loss", label_loss.LOSSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_dense_loss_on_a_gpu_is_that_of_float64(shape, loss, poisoned):
    pytest.importorskip("triton")
    exact = [part.requires_grad_() for part in layer(shape, torch.float64)[:3]]
    positives = layer(shape)[3]
    (0.5 * plain(*exact, positives, loss)).backward()
    results = []
    for _ in range(2):
        leaves = [part.cuda().requires_grad_() for part in layer(shape)[:3]]
        assert pass_for(*leaves[:2]).__name__.endswith("_triton.label_pass")
        value = all_labels_loss(*leaves, positives.to("cuda"), loss=loss, scale=0.5, chunk=640)
        value.backward()
        results.append([value.detach(), *(part.grad for part in leaves)])
    near(results[0][0], 0.5 * plain(*exact, positives, loss).detach())
    for found, again, part in zip(results[0][1:], results[1][1:], exact, strict=True):
        near(found, part.grad)
        assert torch.equal(found, again)  # no atomic additions


@pytest.mark.parametrize(
    ("rule", "dtype"),
    [*((rule, torch.float32) for rule in RULES), (RULES[0], torch.bfloat16), (RULES[1], torch.float16)],
)
def test_the_dense_loss_learns_on_a_gpu_as_on_the_cpu(rule, dtype, poisoned):
    pytest.importorskip("triton")
    results = []
    for device in ("cpu", "cuda"):
        x, weight, bias, positives = (part.to(device) for part in layer((131, 3001, 300)))
        weight, bias = weight.requires_grad_(), bias.requires_grad_()
        own = replace(rule)
        for part in range(4):  # a step of one micro-batch twice, then one of two
            step = StepContext() if part < 2 else StepContext.of_part(part - 2, 2)
            view = x.clone().requires_grad_()
            options = {"scale": 0.01, "rule": own, "step": step}
            options["compute_dtype"] = dtype if device == "cuda" else None
            loss = all_labels_loss(view, weight, bias, positives, **options)
            loss.backward()
        results.append([loss.detach(), view.grad, weight.detach(), bias.detach(), *own.weight_state()])
    for on_cpu, on_gpu in zip(*results, strict=True):
        near(on_gpu, on_cpu, 1.0 if dtype == torch.float32 else 300.0)


@pytest.mark.parametrize("kind", [FLOAT8, BFLOAT16], ids=["float8", "bfloat16"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_narrow_weights_have_the_same_bits_on_a_gpu_as_on_the_cpu(kind, momentum, poisoned):
    """With multiples of 1/8 the sums of a squared hinge are exact, and the rounding alone decides."""
    pytest.importorskip("triton")
    results = []
    for device in ("cpu", "cuda"):
        random = torch.Generator().manual_seed(0)
        x, values = (torch.randint(-8, 9, size, generator=random) / 8 for size in ((77, 67), (3001, 67)))
        made = NarrowTable.zeros(*values.shape, kind)
        made.store(0, values, Draw(0, 0))
        exponents = None if made.exponents is None else made.exponents.to(device)
        codes = torch.nn.Parameter(made.codes.to(device))
        rows = torch.arange(77, device=device)
        rule = NarrowSGDRule(2.0**-6, momentum, 0.25, momentum_dtype=torch.bfloat16, seed=5 << 40)
        x = x.to(device).requires_grad_()
        all_labels_loss(
            x, NarrowTable(kind, codes, exponents), None, Positives.from_pairs(rows, rows * 30), rule=rule,
            loss="squared_hinge", scale=0.5,
        ).backward()  # fmt: skip
        assert x.grad is not None
        buffers = [integers(buffer).cpu() for buffer in rule.weight_state()]
        scales = [] if exponents is None else [exponents.cpu()]
        results.append([x.grad.cpu(), integers(codes).cpu(), *buffers, *scales])
    for on_cpu, on_gpu in zip(*results, strict=True):
        assert torch.equal(on_cpu, on_gpu)


@pytest.mark.parametrize("k", [1, 7, 100])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [None, FLOAT8], ids=["float32", "float8"])
def test_the_best_of_all_labels_on_a_gpu(kind, shape, k, poisoned):
    pytest.importorskip("triton")
    random = torch.Generator().manual_seed(k)
    (n_texts, n, dim) = shape
    sizes = (n_texts, dim), (n, dim), (n,)
    x, weight, bias = (torch.randint(-2, 3, size, generator=random).float() for size in sizes)  # ties everywhere
    exclude = layer(shape)[3]
    exclude = Positives(exclude.rows, exclude.labels)
    order = torch.randperm(n, generator=random)
    expected = plain_of(x @ weight.t() + bias, k, exclude, order)
    table = weight.cuda()
    if kind is not None:
        made = NarrowTable.zeros(n, dim, kind)
        made.store(0, weight, Draw(0, 0))
        table = NarrowTable(kind, made.codes.cuda(), made.exponents.cuda())
    assert topk_for(x.cuda(), table, k) is not None
    found = streaming_topk(x.cuda(), table, bias.cuda(), k, exclude.to("cuda"), row_to_label=order.cuda())
    assert torch.equal(found.ids.cpu(), expected.ids)
    assert torch.equal(found.scores.cpu(), expected.scores)


def test_neither_gradients_nor_scores_of_all_labels_are_in_memory():
    pytest.importorskip("triton")
    n, dim, n_texts = 400_000, 256, 256
    weight, x = torch.zeros(n, dim, device="cuda").requires_grad_(), torch.ones(n_texts, dim, device="cuda")
    rows = torch.arange(n_texts, device="cuda")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    all_labels_loss(
        x.requires_grad_(), weight, None, Positives.from_pairs(rows, rows), rule=SGDRule(0.01)
    ).backward()
    streaming_topk(x.detach(), weight, None, 10)
    assert torch.cuda.max_memory_allocated() - before < 0.4 * 4 * n * dim  # 410 MB; a chunk takes up to 64 MB
