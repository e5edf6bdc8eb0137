"""Narrow weights on a GPU: run by scripts/gpu where there is one, left out elsewhere."""

import pytest
import torch

from megalabel.heads.dense import DenseHead
from megalabel.training.optim.groups import FusedSGD, Optimizers
from megalabel.types import Positives

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]


@pytest.mark.parametrize("weights", ["bfloat16", "float8"])
def test_narrow_weights_are_rounded_on_a_gpu_as_on_the_cpu(weights):
    heads = []
    for device in ("cpu", "cuda"):
        made = DenseHead(1003, 32, weights=weights, generator=torch.Generator().manual_seed(0)).to(device)
        optimizers = Optimizers(head=FusedSGD(made, 0.05, 0.9, 1e-3, momentum_dtype="bfloat16", seed=3))
        x = torch.randn(9, 1, 32, generator=torch.Generator().manual_seed(1)).to(device)
        rows = torch.arange(9, device=device)
        for _ in range(3):
            optimizers.begin(0, 1)
            made.loss(x.clone().requires_grad_(), Positives.from_pairs(rows, rows * 100)).backward()
        heads.append(made)
    ours, theirs = (head.table().float().cpu() for head in heads)
    assert float((ours == theirs).double().mean()) > 0.98  # the last bits of products decide a rounding at times
    torch.testing.assert_close(ours, theirs, rtol=0.13, atol=1e-3)
