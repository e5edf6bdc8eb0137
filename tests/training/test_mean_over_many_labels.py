"""At 670,091 labels a mean hinge moves the encoder as with the published optimizer, whose eps is 1e-8."""

from __future__ import annotations

import copy

import torch
from planted import planted

from megalabel.heads.sparse import SparseHead
from megalabel.recipes.spartex import spartex
from megalabel.types import Positives

N_LABELS, TEXTS = 670_091, 8


def test_the_encoder_of_spartex_moves_as_the_published_optimizers(tiny_bert):
    recipe = spartex(
        planted(), encoder=str(tiny_bert), max_length=16, epochs=20, batch_size=TEXTS, fan_in=8, prune="none",
        auxiliary=False, dropout=0.0, warmup=0.1, encoder_lr=1e-3,
    )  # fmt: skip
    encoder, optimizer = recipe.encoder, recipe.optimizers["encoder"]
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    head = SparseHead(N_LABELS, encoder.dim, fan_in=8, distinct_inputs=False, seed=0)
    with torch.no_grad():
        head.weight.mul_(0.01)
        head.bias.fill_(-1.3)  # every label is right but the texts' own
    generator = torch.Generator().manual_seed(0)
    positives = Positives.from_pairs(
        torch.arange(TEXTS).repeat_interleave(5), torch.randint(0, N_LABELS, (5 * TEXTS,), generator=generator)
    )
    tokens = torch.randint(4, 100, (TEXTS, 12), generator=generator)
    mask = torch.ones_like(tokens, dtype=torch.bool)

    theirs, stopped = copy.deepcopy(encoder), copy.deepcopy(encoder)
    start = moved_parts(encoder)

    def published(module, eps):
        vectors = {"params": [p for p in module.parameters() if p.ndim <= 1], "weight_decay": 0.0}
        matrices = {"params": [p for p in module.parameters() if p.ndim > 1], "weight_decay": 0.01}
        return torch.optim.AdamW([matrices, vectors], lr=1e-3, eps=eps)

    sides = [(encoder, optimizer), (theirs, published(theirs, 1e-8)), (stopped, published(stopped, 1e-6))]
    for _ in range(5):
        for module, steps in sides:
            head.loss(module(tokens, mask), positives).backward()
            steps.step()
            steps.zero_grad()
            head.zero_grad()
    ours, reference, small = (distance(module, start) for module in (encoder, theirs, stopped))
    assert abs(ours / reference - 1) < 0.02
    assert small < 0.2 * reference  # what the eps of Renée would leave of it


def moved_parts(encoder) -> list[torch.Tensor]:
    """The matrices of the layers: embeddings of tokens that do not occur have no gradient."""
    return [p.detach().clone() for n, p in encoder.named_parameters() if ".layer." in n and p.ndim > 1]


def distance(encoder, start: list[torch.Tensor]) -> float:
    pairs = zip(moved_parts(encoder), start, strict=True)
    return float(torch.stack([(now - before).square().sum() for now, before in pairs]).sum().sqrt())
