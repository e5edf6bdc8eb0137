"""The narrow dense head against ELMO's step in plain Python: the same weights but for ties of the last bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads.elmo_reference import NUMBERS, Elmo

from megalabel.heads.dense import DenseHead
from megalabel.kernels.core.dtypes import FLOAT8
from megalabel.training.optim.fused import FusedSGD
from megalabel.types import Positives

N_LABELS, DIM, N_TEXTS, STEPS = 40, 12, 9, 5


def batches() -> list[tuple[np.ndarray, list[set[int]]]]:
    rng = np.random.default_rng(4)
    return [
        (
            rng.standard_normal((N_TEXTS, DIM)).astype(np.float32),
            [set(rng.choice(N_LABELS, 3, replace=False).tolist()) for _ in range(N_TEXTS)],
        )
        for _ in range(STEPS)
    ]


def positives_of(labels: list[set[int]]) -> Positives:
    pairs = [(row, label) for row, own in enumerate(labels) for label in own]
    return Positives.from_pairs(*torch.tensor(pairs).T)


def test_the_list_of_numbers_is_pytorchs():
    codes = torch.arange(0x7F, dtype=torch.uint8).view(FLOAT8.dtype).double()
    assert codes.tolist() == NUMBERS["float8"]


@pytest.mark.parametrize("chunk", [None, 7])
@pytest.mark.parametrize("compensated", [[], [0, 5, 6, 39]], ids=["plain", "compensated"])
@pytest.mark.parametrize("weights", ["bfloat16", "float8"])
def test_training_is_that_of_the_reference(weights, compensated, chunk):
    head = DenseHead(
        N_LABELS, DIM, weights=weights, chunk=chunk, init_std=0.3, generator=torch.Generator().manual_seed(2)
    )
    lr, decay, seed = 0.02, 0.1, 11
    some = torch.tensor(compensated) if compensated else None
    optimizer = FusedSGD(head, lr, 0.0, decay, compensated=some, seed=seed)
    reference = Elmo(head.table().float().double().numpy(), weights, lr, decay, seed, compensated)
    for x, labels in batches():
        views = torch.from_numpy(x)[:, None].requires_grad_()
        head.loss(views, positives_of(labels)).backward()
        optimizer.step()
        expected = reference.step(x.astype(np.float64), labels)
        np.testing.assert_allclose(views.grad[:, 0].numpy(), expected, rtol=2e-4, atol=2e-5)
        found = head.table().float().double().numpy()
        # float32 and float64 differ in the last bits, which decide a rounding now and then.
        assert (found != reference.weight).mean() < 0.005
        reference.weight[...] = found
