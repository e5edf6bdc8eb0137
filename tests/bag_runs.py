"""Knobs by which a bag of embeddings learns the planted data in a second, and the finished runs of all papers."""

from __future__ import annotations

from pathlib import Path

from planted import planted

import megalabel
from megalabel.recipes import get

BAG = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=8, batch_size=32, hidden_dim=0,
    validation_fraction=0.1, head_lr=0.02, encoder_lr=0.002, token_lr=0.02,
)  # fmt: skip
KNOBS = {
    "renee": dict(BAG, warmup=0.1, dropout=0.1, bias=True, head_optimizer="adamw", head_init_std=0.0),
    "cascadexml": dict(
        BAG,
        clusters=(4, 16),
        beams=(4, 12),
        level_dropout=(0.1, 0.1, 0.1),
        accumulation_steps=1,
        schedule="cosine",
    ),
    "spartex": dict(BAG, warmup=0.05, dropout=0.1, fan_in=48, prune="none", auxiliary_epochs=1, epochs=12),
}


def trained(recipe: str, out: Path) -> Path:
    """A finished run of a recipe on the planted data."""
    megalabel.train(get(recipe)(planted(), **KNOBS[recipe]), out, quiet=True)
    return out
