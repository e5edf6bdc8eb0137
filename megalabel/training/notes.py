"""Notes on the texts of a recipe for the user, shown before training."""

from __future__ import annotations

from megalabel.inputs.lengths import TokenCounts
from megalabel.training.recipe import Recipe


def text_notes(recipe: Recipe) -> list[str]:
    """Sentences on learned word pieces, unknown tokens and truncated texts."""
    tokenizer = recipe.encoder.tokenizer
    notes = [tokenizer.note] if tokenizer.note else []
    if recipe.data.train.features is None:
        notes += TokenCounts.of(tokenizer, recipe.data.train.texts).notes(recipe.max_length)
    return notes
