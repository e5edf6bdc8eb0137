"""Arranges the weights of the linear trees in a model for fast answers; see `kernels/linear/prepacked.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.models.linear import forget_pages

TREES = ("trees", "joint_trees", "word_trees")  # where models hold trees
MODELS = ("base_model", "base", "parts")  # and other models


def prepack(model: object) -> None:
    """Prepacks the trees of a model and of the models in it, and lets go of the pages of their files."""
    for tree in _held(model, TREES):
        if isinstance(tree, SparseBeam):
            tree.prepack()
            forget_pages(tree)
    for part in _held(model, MODELS):
        prepack(part)


def _held(model: object, names: tuple[str, ...]) -> Iterator[Any]:
    for name in names:
        found = getattr(model, name, ())
        yield from found if isinstance(found, (list, tuple)) else (found,)
