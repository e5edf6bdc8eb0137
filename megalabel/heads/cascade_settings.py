"""The shape of a cascade, the scores of its labels and the loss of its levels, checked when it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from megalabel.errors import SettingError
from megalabel.kernels.candidates.beam import PathScore
from megalabel.types import Reduction

REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum")


@dataclass(frozen=True)
class CascadeSettings:
    """The arguments of a `CascadeHead`, which documents them, for a tree of given sizes.

    sizes: clusters of each level, coarse to fine, then labels. What is left empty is filled in.

    Raises:
        SettingError: a value that does not fit the tree.
    """

    sizes: tuple[int, ...]
    dim: int
    beams: tuple[int, ...]
    n_views: int = 0
    dropout: tuple[float, ...] = ()
    level_weights: tuple[float, ...] = ()
    path_score: PathScore = "label*parent"
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        levels = len(self.sizes)
        for name, default in (
            ("sizes", ()),
            ("beams", ()),
            ("dropout", (0.0,) * levels),
            ("level_weights", (1.0,) * levels),
        ):
            object.__setattr__(self, name, _plain(getattr(self, name)) or default)
        object.__setattr__(self, "n_views", self.n_views or levels)
        self._check_lengths(levels)
        self._check_numbers()
        for name, choices in (
            ("path_score", get_args(PathScore)),
            ("reduction", REDUCTIONS),
            ("n_views", (1, levels)),
        ):
            if getattr(self, name) not in choices:
                raise SettingError(
                    f"{name} = {getattr(self, name)!r} for {self._tree}",
                    wanted=" or ".join(repr(c) for c in choices),
                    next_step="name one of these",
                    where=name,
                )

    @property
    def _tree(self) -> str:
        levels = len(self.sizes) - 1
        return f"a tree of {levels} cluster levels, {', '.join(f'{n:,}' for n in self.sizes[:-1])} clusters"

    def _check_lengths(self, levels: int) -> None:
        for name, wanted in (("beams", levels - 1), ("dropout", levels), ("level_weights", levels)):
            if len(getattr(self, name)) != wanted:
                raise SettingError(
                    f"{name} = {getattr(self, name)} for {self._tree}",
                    wanted=f"{wanted} numbers",
                    next_step="give one for each level, or other depths",
                    where=name,
                )

    def _check_numbers(self) -> None:
        ranges: tuple[tuple[str, Sequence[float], str, Callable[[float], bool]], ...] = (
            ("dropout", self.dropout, "from 0 to below 1", lambda x: 0 <= x < 1),
            ("level_weights", self.level_weights, "0 or more", lambda x: 0 <= x < float("inf")),
            ("dim", (self.dim,), "1 or more", lambda x: x == int(x) >= 1),
        )
        for name, numbers, range_, fits in ranges:
            if not all(fits(x) for x in numbers):
                raise SettingError(
                    f"{name} = {numbers}", wanted=f"numbers {range_}", next_step="correct it", where=name
                )
        for beam, size in zip(self.beams, self.sizes, strict=False):
            if not 1 <= beam <= size or beam != int(beam):
                raise SettingError(
                    f"beams = {self.beams} for {self._tree}",
                    wanted=f"from 1 to {size:,} where {beam:,} stands",
                    next_step="lower that beam, or build a deeper tree",
                    where="beams",
                )


def _plain(numbers: Sequence[Any]) -> tuple[Any, ...]:
    """As Python's own numbers, since numpy's are no JSON."""
    return tuple(n.item() if hasattr(n, "item") else n for n in numbers)
