"""The same code on a GPU: run by scripts/gpu where there is one, left out elsewhere."""

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.heads.dense import DenseHead
from megalabel.kernels.candidate_scores import candidate_bce, candidate_scores
from megalabel.kernels.candidates import Candidates, fast_body
from megalabel.kernels.row_step import adam_state, row_adam, row_sgd
from megalabel.recipes.renee import renee
from megalabel.training.optim import FusedSGD, Optimizers
from megalabel.types import Positives

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_dense_head_learns_on_a_gpu_as_on_the_cpu(momentum):
    torch.manual_seed(0)
    heads = DenseHead(1003, 32, bias=True), DenseHead(1003, 32, bias=True)
    heads[1].load_state_dict(heads[0].state_dict())
    x, rows = torch.randn(9, 1, 32), torch.arange(9)
    pairs = Positives.of(rows, rows * 100)
    gradients = []
    for head, device in zip(heads, ("cpu", "cuda"), strict=True):
        head.to(device)
        optimizers = Optimizers(head=FusedSGD(head, 0.05, momentum, 1e-3))
        for _ in range(3):
            optimizers.begin(0, 1)
            views = x.to(device).requires_grad_()
            head.loss(views, pairs.to(device)).backward()
        gradients.append(views.grad.cpu())
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(heads[0].weight, heads[1].weight.cpu(), rtol=1e-3, atol=1e-4)
    tops = [head.topk(x.to(head.weight.device), 5).numpy() for head in heads]
    np.testing.assert_allclose(tops[0][1], tops[1][1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("encoder", ["bag", "small"])
def test_a_recipe_trains_on_a_gpu(encoder, precision, tmp_path):
    data = planted()
    recipe = renee(
        data, encoder=encoder, tokenizer="words", max_length=16, epochs=12, batch_size=32, warmup=0.1,
        dropout=0.1, bias=True, head_lr=0.02, encoder_lr=0.002, token_lr=0.02, precision=precision,
        validation=0.0, loss_every=1,
    )  # fmt: skip
    model = megalabel.train(recipe, tmp_path / "r", device="cuda", quiet=True)
    assert megalabel.evaluate(model, data)["P@1"] > 90
    assert megalabel.evaluate(megalabel.load(tmp_path / "r"), data)["P@1"] > 90


def cascade_level(kind, dim):
    """Views of 64 texts, weights, bias, candidates and positives as on a level of a cascade of some size."""
    rng = np.random.default_rng(dim)
    batch, nodes = 64, 2000
    cuts = torch.from_numpy(np.concatenate([[0], rng.integers(1, 24, nodes).cumsum()]))
    n = int(cuts[-1]) if kind == "blocks" else 4096
    if kind == "all":
        candidates = Candidates.all_rows(batch, n)
    else:
        chosen = [np.sort(rng.choice(nodes, 50 * (b != 3), replace=False)) for b in range(batch)]
        ids = torch.from_numpy(np.concatenate(chosen))
        texts = torch.tensor([0, *(len(x) for x in chosen)]).cumsum(0)
        blocks = kind == "blocks"
        candidates = (
            Candidates.of_blocks(cuts[ids], cuts[ids + 1], texts) if blocks else Candidates.of_ids(texts, ids)
        )
    pick = torch.from_numpy(rng.integers(0, max(candidates.n_cells, 1), 300))
    texts, rows = candidates.texts_of_cells()[pick], candidates.rows_of_cells()[pick]
    strangers = torch.from_numpy(rng.integers(0, batch, 100)), torch.from_numpy(rng.integers(0, n, 100))
    positives = Positives.of(torch.cat([texts, strangers[0]]), torch.cat([rows, strangers[1]]))
    numbers = [torch.from_numpy(rng.standard_normal(shape)).float() for shape in ((batch, dim), (n, dim), (n,))]
    return numbers[0], numbers[1] / dim**0.5, numbers[2], candidates, positives


def near(found, expected):
    """Up to the rounding of sums of float32, of which some cancel."""
    found, expected = found.cpu().double(), expected.cpu().double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("dim", [300, 768, 1024])
@pytest.mark.parametrize("kind", ["blocks", "one by one", "all"])
def test_candidates_score_on_a_gpu_as_on_the_cpu(kind, dim):
    pytest.importorskip("triton")
    views, weight, bias, candidates, positives = cascade_level(kind, dim)
    assert fast_body("candidate_scores", weight.to("cuda")).__name__.endswith("_triton.candidate_scores")
    results = []
    for device in ("cpu", "cuda", "cuda"):
        x = views.to(device).requires_grad_()
        there = [part.to(device) for part in (weight, bias, candidates)]
        value, logits, gradient = candidate_bce(x, *there, positives.to(device), 0.5)
        (3 * value).backward()
        alone = candidate_scores(x, *there)
        results.append([value.detach(), logits, gradient.cells, x.grad, alone])
    for on_cpu, on_gpu, again in zip(*results, strict=True):
        near(on_gpu, on_cpu)
        assert torch.equal(on_gpu, again)  # no atomic additions


@pytest.mark.parametrize("dim", [300, 768, 1024])
@pytest.mark.parametrize("kind", ["blocks", "one by one", "all"])
@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_rows_step_on_a_gpu_as_on_the_cpu(rule, kind, dim):
    pytest.importorskip("triton")
    views, weight, bias, candidates, positives = cascade_level(kind, dim)
    results = []
    for device in ("cpu", "cuda", "cuda"):
        w, b = weight.to(device, copy=True), bias.to(device, copy=True)
        state, held, pairs = adam_state(w, b), candidates.to(device), positives.to(device)
        for _ in range(3):
            # Two micro-batches. Gradients from weights that stand still: Adam would tell small differences apart.
            fixed = weight.to(device), bias.to(device)
            parts = [candidate_bce(x.to(device), *fixed, held, pairs, 0.1)[2] for x in (views, -0.5 * views)]
            if rule == "adam":
                row_adam(w, b, state, parts, 0.01, (0.9, 0.999), 1e-3, 0.1)
            else:
                row_sgd(w, b, parts, 0.01, 0.1)
        results.append([w, b, *(state[name] for name in sorted(state))])
    for on_cpu, on_gpu, again in zip(*results, strict=True):
        near(on_gpu, on_cpu)
        assert torch.equal(on_gpu, again)
