"""What the levels of CascadeXML read and keep where nothing else is given, by the number of cluster levels."""

from __future__ import annotations

from typing import NamedTuple


class AuthorsLevels(NamedTuple):
    """What levels read and keep: the encoder's layers in twelfths (the first two are joined), beams, dropouts."""

    layers: tuple[int, ...]
    beams: tuple[int, ...]
    dropout: tuple[float, ...]


# By number of cluster levels. Two and three are the authors' commands for Wiki10-31K and Amazon-670K, one and four
# are chosen alike.
BY_LEVELS = {
    1: AuthorsLevels((9, 10, 12), (64,), (0.3, 0.4)),
    2: AuthorsLevels((7, 8, 10, 12), (64, 64), (0.3, 0.3, 0.4)),
    3: AuthorsLevels((5, 6, 8, 10, 12), (128, 256, 400), (0.2, 0.25, 0.4, 0.5)),
    4: AuthorsLevels((3, 4, 6, 8, 10, 12), (128, 128, 256, 400), (0.2, 0.2, 0.25, 0.4, 0.5)),
}


def for_levels(levels: int) -> AuthorsLevels:
    """The authors' values for a tree of so many cluster levels; beyond four the coarsest level's are repeated."""
    usual, further = BY_LEVELS[min(levels, 4)], max(levels - 4, 0)
    return AuthorsLevels(
        usual.layers[:1] * further + usual.layers,
        usual.beams[:1] * further + usual.beams,
        usual.dropout[:1] * further + usual.dropout,
    )
