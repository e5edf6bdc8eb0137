"""Checks that hold for every head and every recipe, for tests of one's own: `check_head` and `check_recipe`."""

from megalabel.testing.head import HEAD_CHECKS, check_head
from megalabel.testing.learning import loss_falls
from megalabel.testing.planted import N_TEXTS, loss_value, planted_views, train_head
from megalabel.testing.recipe import check_recipe

__all__ = [
    "HEAD_CHECKS",
    "N_TEXTS",
    "check_head",
    "check_recipe",
    "loss_falls",
    "loss_value",
    "planted_views",
    "train_head",
]
