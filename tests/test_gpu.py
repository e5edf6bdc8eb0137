"""The same code on a GPU: run by scripts/gpu where there is one, left out elsewhere."""

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.heads.dense import DenseHead
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
