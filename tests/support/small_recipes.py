"""Recipes on the planted data with other parts, and a head whose loss compares the texts of a batch."""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from planted import planted
from torch import nn

from megalabel.heads.base import Head
from megalabel.recipes.renee import renee
from megalabel.training.optim.groups import Optimizers, adamw, lazy_adam, plain_adam
from megalabel.types import TopK

LIGHT = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=2, batch_size=48, warmup=0.1, dropout=0.2, bias=True,
    head_optimizer="adamw", head_lr=0.02, head_init_std=0.0, encoder_lr=0.002, token_lr=0.02, log_every=1,
    label_texts="no", validation_fraction=0.1,
)  # fmt: skip


def made(**changes: object):
    """Renée on the planted data, with other fields of the recipe."""
    return replace(renee(planted(), **LIGHT), **changes)


def with_head(head: Head, **changes: object):
    """The same with another head, trained by AdamW if it has parameters."""
    recipe = made()
    encoder = recipe.encoder
    optimizers = Optimizers(
        encoder=plain_adam(encoder, 0.002), tokens=lazy_adam(encoder, 0.02), of_head=adamw(head, 0.02)
    )
    return replace(recipe, head=head, optimizers=optimizers, **changes)


def losses(out) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


class Contrastive(Head):
    """Softmax over the labels of the batch: a loss that compares the texts of a batch with each other."""

    reduction = "mean"

    def __init__(self, n_labels: int, dim: int) -> None:
        super().__init__()
        self.n_labels, self.dim = n_labels, dim
        self.weight = nn.Parameter(torch.zeros(n_labels, dim))

    def loss(self, views, positives):
        present, where = positives.labels.unique(return_inverse=True)
        logits = (views[:, 0] @ self.weight[present].T).log_softmax(1)
        return -logits[positives.rows, where].mean()

    def topk(self, views, k, *, exclude=None, row_to_label=None):
        scores = views[:, 0] @ self.weight.T
        if exclude is not None:
            scores[exclude.rows, exclude.labels] = -torch.inf
        best = scores.detach().topk(min(k, self.n_labels))
        return TopK(best.indices, best.values)

    def config(self):
        return {"n_labels": self.n_labels, "dim": self.dim}
