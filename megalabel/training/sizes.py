"""The memory of the parts of a run."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from megalabel.training.recipe import Recipe


def sizes(recipe: Recipe) -> dict[str, float]:
    """The MB (10⁶ bytes) of all weights, of all optimizer states, and of the head with its optimizer state."""
    weights = [t for module in recipe.modules().values() for t in module.state_dict().values()]
    head = [*recipe.head.state_dict().values(), *recipe.optimizers.tensors(recipe.head)]
    parts = {"weights_mb": weights, "optimizers_mb": recipe.optimizers.tensors(), "head_mb": head}
    return {name: _megabytes(tensors) for name, tensors in parts.items()}


def _megabytes(tensors: Iterable[torch.Tensor]) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6
