"""What the cascade's arguments must be for its tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from megalabel.errors import SettingError
from megalabel.kernels.candidates.beam import Scores

if TYPE_CHECKING:
    from megalabel.heads.cascade import CascadeHead

REDUCTIONS = ("mean", "sum")


def check_settings(head: CascadeHead, levels: int) -> None:
    """Refuses what does not fit the tree."""
    what = f"a tree of {levels - 1} cluster levels, {', '.join(f'{n:,}' for n in head.sizes[:-1])} clusters"
    for name, values, wanted in (
        ("beams", head.beams, levels - 1),
        ("dropout", head.dropout, levels),
        ("level_weights", head.level_weights, levels),
    ):
        if len(values) != wanted:
            raise SettingError(
                f"{name} = {tuple(values)} for {what}",
                wanted=f"{wanted} numbers",
                next_step="give one for each level, or other depths",
                where=name,
            )
    for name, numbers, range_, fits in (
        ("dropout", head.dropout, "from 0 to below 1", lambda x: 0 <= x < 1),
        ("level_weights", head.level_weights, "0 or more", lambda x: 0 <= x < float("inf")),
        ("dim", (head.dim,), "1 or more", lambda x: x == int(x) >= 1),
    ):
        if not all(fits(x) for x in numbers):
            raise SettingError(
                f"{name} = {numbers}", wanted=f"numbers {range_}", next_step="correct it", where=name
            )
    for beam, size in zip(head.beams, head.sizes, strict=False):
        if not 1 <= beam <= size or beam != int(beam):
            raise SettingError(
                f"beams = {head.beams} for {what}",
                wanted=f"from 1 to {size:,} where {beam:,} stands",
                next_step="lower that beam, or build a deeper tree",
                where="beams",
            )
    for name, choice, choices in (
        ("scores", head.scores, get_args(Scores)),
        ("reduction", head.reduction, REDUCTIONS),
        ("n_views", head.n_views, (1, levels)),
    ):
        if choice not in choices:
            raise SettingError(
                f"{name} = {choice!r} for {what}",
                wanted=" or ".join(repr(c) for c in choices),
                next_step="name one of these",
                where=name,
            )
