"""Checks of the arguments of a `CascadeHead`, which documents them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, get_args

from torch import Tensor

from megalabel.errors import SettingError
from megalabel.heads.checks import check_arguments, check_reduction
from megalabel.kernels.candidates.beam import PathScore
from megalabel.types import Reduction

SCORES = get_args(PathScore)


class CascadeArguments(Protocol):
    """The attributes of a cascade that are checked, all filled in."""

    sizes: tuple[int, ...]
    dim: int
    n_views: int
    beams: tuple[int, ...]
    level_dropout: tuple[float, ...]
    level_weights: tuple[float, ...]
    path_score: PathScore
    reduction: Reduction


def check_cascade(head: CascadeArguments) -> None:
    """Raises SettingError unless the attributes of a cascade fit each other and the sizes of its tree."""
    levels = len(head.sizes)
    check_arguments(
        ("dim", head.dim, "1 or more", head.dim >= 1),
        ("n_views", head.n_views, f"1 or {levels}, one per level", head.n_views in (1, levels)),
        ("path_score", head.path_score, " or ".join(SCORES), head.path_score in SCORES),
    )
    check_reduction(head.reduction)
    for name, length in (("beams", levels - 1), ("level_dropout", levels), ("level_weights", levels)):
        numbers = getattr(head, name)
        if len(numbers) != length:
            clusters = ", ".join(f"{n:,}" for n in head.sizes[:-1])
            raise SettingError(
                f"{name} = {numbers} for a tree with {levels - 1} levels of {clusters} clusters",
                wanted=f"{length} numbers",
                where=name,
            )
    dropout, weights = head.level_dropout, head.level_weights
    check_arguments(
        ("level_dropout", dropout, "numbers from 0 to below 1", all(0 <= x < 1 for x in dropout)),
        ("level_weights", weights, "finite numbers of at least 0", all(0 <= x < math.inf for x in weights)),
    )
    for beam, size in zip(head.beams, head.sizes, strict=False):
        if not 1 <= beam <= size or beam != int(beam):
            raise SettingError(
                f"beams = {head.beams}",
                wanted=f"a whole number from 1 to {size:,} instead of {beam:,}",
                where="beams",
            )


def python_numbers(numbers: Sequence[Any]) -> tuple[Any, ...]:
    """The numbers as a tuple of Python's own types, since those of numpy cannot be written as JSON."""
    return tuple(n.item() if hasattr(n, "item") else n for n in numbers)


def check_counts(texts_with: Sequence[Tensor], sizes: tuple[int, ...], n_texts: int) -> None:
    """Raises SettingError unless there is a count from 0 to n_texts for each node of each level."""
    shapes = [tuple(counts.shape) for counts in texts_with]
    if shapes != [(n,) for n in sizes] or any(c.min() < 0 or c.max() > n_texts for c in texts_with):
        raise SettingError(
            f"counts of shapes {shapes}",
            wanted=f"shapes {[(n,) for n in sizes]}, from 0 to n_texts = {n_texts}",
            next_step="compute them with megalabel.labels.counts.texts_with",
            where="texts_with",
        )
