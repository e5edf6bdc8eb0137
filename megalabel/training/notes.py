"""Notes on the texts of a recipe for the user, shown before training."""

from __future__ import annotations

from megalabel.inputs.lengths import TokenCounts
from megalabel.training.recipe import Recipe


def text_notes(recipe: Recipe) -> list[str]:
    """Sentences on loaded weights, learned word pieces, unknown tokens and texts not read to their end."""
    tokenizer = recipe.encoder.tokenizer
    notes = [*recipe.encoder.notes, *([tokenizer.note] if tokenizer.note else [])]
    if recipe.data.train.features is None:
        notes += TokenCounts.of(tokenizer, recipe.data.train.texts).notes(recipe.max_length)
    return notes
