"""The same code on a GPU: run by scripts/gpu where there is one, left out elsewhere."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.heads.dense import DenseHead
from megalabel.kernels.all_labels.streaming_topk import plain_of, topk_of
from megalabel.kernels.candidates.candidate_scores import candidate_bce, candidate_scores
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.candidates.row_step import adam_state, row_adam, row_sgd
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.fan_in.fixed_fan_in import (
    densify,
    fan_in_growth,
    fan_in_loss,
    fan_in_scores,
    fan_in_topk,
    input_dtype,
    plain,
)
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import StepContext
from megalabel.kernels.updates.sgd_rule import SGDRule
from megalabel.recipes.renee import renee
from megalabel.training.optim.groups import FusedSGD, Optimizers
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
    pairs = Positives.from_pairs(rows, rows * 100)
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
        validation_fraction=0.0, log_every=1,
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
    positives = Positives.from_pairs(torch.cat([texts, strangers[0]]), torch.cat([rows, strangers[1]]))
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
    scores = Operation("megalabel.kernels.candidates", "candidate_scores", ("cpu", "triton"))
    assert scores.for_table(weight.to("cuda")).__name__.endswith("_triton.candidate_scores")
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


FAN_IN = [(1, 300, 64), (1, 33000, 7), (3, 300, 131), (16, 768, 64), (32, 200, 130)]  # group, width, texts


def fan_in_layer(group, dim, n_texts, device="cpu"):
    """x, weight, bias, inputs with duplicates, and positives: 3001 labels with 17 connections each."""
    rng = np.random.default_rng(dim)
    n = 3001
    x, weight, bias = (
        torch.from_numpy(rng.standard_normal(shape)).float() for shape in ((n_texts, dim), (n, 17), (n,))
    )
    inputs = torch.from_numpy(rng.integers(0, dim, (-(-n // group), 17)))
    inputs[:, -1] = inputs[:, 0]
    pairs = torch.from_numpy(rng.integers(0, n_texts, 500)), torch.from_numpy(rng.integers(0, n, 500))
    layer = x, weight / 17**0.5, bias, inputs.to(input_dtype(dim))
    return *(part.to(device) for part in layer), Positives.from_pairs(*pairs).to(device)


def fan_in_pass(x, weight, bias, inputs, positives, group, loss):
    """All that the operation gives of a layer without a rule."""
    leaves = [part.clone().requires_grad_() for part in (x, weight, bias)]
    value = fan_in_loss(*leaves, inputs, positives, group=group, loss=loss, scale=0.01)
    (3 * value).backward()
    spread = [part.clone().requires_grad_() for part in (x, weight, bias)]
    z = fan_in_scores(*spread, inputs, group)
    (z * z.detach().relu()).sum().backward()
    candidates = inputs.flip(0)[:, :9].contiguous()
    grown = fan_in_growth(x, weight, bias, inputs, positives, candidates, group=group, loss=loss)
    return [value.detach(), z.detach(), grown, *(part.grad for part in (*leaves, *spread))]


@pytest.mark.parametrize("loss", ["bce", "squared_hinge"])
@pytest.mark.parametrize(("group", "dim", "n_texts"), FAN_IN)
def test_fixed_fan_in_on_a_gpu_as_densified(group, dim, n_texts, loss):
    pytest.importorskip("triton")
    x, weight, bias, inputs, positives = fan_in_layer(group, dim, n_texts)
    expected = fan_in_pass(x.double(), weight.double(), bias.double(), inputs, positives, group, loss)
    near(expected[0], 0.01 * plain(x, weight, bias, inputs, positives, group=group, loss=loss))
    there = fan_in_layer(group, dim, n_texts, "cuda")
    found, again = (fan_in_pass(*there, group, loss) for _ in range(2))
    for on_gpu, twice, exact in zip(found, again, expected, strict=True):
        near(on_gpu, exact)
        assert torch.equal(on_gpu, twice)  # no atomic additions
    assert "megalabel.kernels.fan_in._triton.fixed_fan_in" in sys.modules


@pytest.mark.parametrize("rule", [SGDRule(0.01, 0.0, 0.1), SGDRule(0.01, 0.9, 0.1), AdamRule(0.01, eps=1e-3)])
@pytest.mark.parametrize(("group", "dim", "n_texts"), FAN_IN)
def test_fixed_fan_in_learns_on_a_gpu_as_on_the_cpu(group, dim, n_texts, rule):
    results = []
    for device in ("cpu", "cuda", "cuda"):
        x, weight, bias, inputs, positives = fan_in_layer(group, dim, n_texts, device)
        own = replace(rule)
        for part in range(6):  # three steps of two micro-batches
            step = StepContext.of_part(part % 2, 2, loss_scale=8.0)
            view = (x if step.first else -0.5 * x).requires_grad_()
            with torch.autocast(device, dtype=torch.bfloat16):  # which is none of this layer's business
                own_options = {"group": group, "scale": 0.01, "rule": own, "step": step}
                loss = fan_in_loss(view, weight, bias, inputs, positives, **own_options)
                (step.loss_scale * loss).backward()
            x = x.detach()
        results.append([loss.detach(), view.grad, weight, bias, *own.weight_state()])
    for on_cpu, on_gpu, again in zip(*results, strict=True):
        near(on_gpu, on_cpu)
        assert torch.equal(on_gpu, again)


@pytest.mark.parametrize(("group", "dim", "n_texts"), FAN_IN)
def test_top_k_of_fixed_fan_in_on_a_gpu(group, dim, n_texts):
    x, weight, bias, inputs, exclude = fan_in_layer(group, dim, n_texts)
    x, weight, bias = x.round(), (4 * weight).round(), bias.round()  # exact sums, and ties everywhere
    row_to_label = torch.from_numpy(np.random.default_rng(0).permutation(len(weight)))
    expected = plain_of(x @ densify(weight, inputs, dim, group).t() + bias, 50, exclude, row_to_label)
    there = [part.cuda() for part in (x, weight, bias, inputs)]
    found = fan_in_topk(*there, 50, exclude.to("cuda"), group=group, row_to_label=row_to_label.cuda())
    assert torch.equal(found.ids.cpu(), expected.ids)
    assert torch.equal(found.scores.cpu(), expected.scores)


@pytest.mark.parametrize("chunk", [1, 64, None])
def test_top_k_with_equal_scores_on_a_gpu(chunk):
    row_to_label = torch.randperm(500, generator=torch.Generator().manual_seed(0)).cuda()
    scores = torch.zeros(500, 9, device="cuda")
    found = topk_of(
        lambda start, stop: scores[start:stop].clone().t(), 500, 9, 3, device=scores.device, width=1,
        row_to_label=row_to_label, chunk=chunk,
    )  # fmt: skip
    assert found.ids.tolist() == [[0, 1, 2]] * 9
