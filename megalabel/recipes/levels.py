"""Default layers, beams and dropouts of the levels of CascadeXML, by the number of cluster levels."""

from __future__ import annotations

from typing import NamedTuple


class AuthorsLevels(NamedTuple):
    """Encoder layers in twelfths of the depth (the first two are concatenated), beams and dropouts of levels."""

    layers: tuple[int, ...]
    beams: tuple[int, ...]
    dropout: tuple[float, ...]


# By number of cluster levels. Two and three are from the authors' commands for Wiki10-31K and Amazon-670K; one and
# four are chosen by analogy.
BY_LEVELS = {
    1: AuthorsLevels((9, 10, 12), (64,), (0.3, 0.4)),
    2: AuthorsLevels((7, 8, 10, 12), (64, 64), (0.3, 0.3, 0.4)),
    3: AuthorsLevels((5, 6, 8, 10, 12), (128, 256, 400), (0.2, 0.25, 0.4, 0.5)),
    4: AuthorsLevels((3, 4, 6, 8, 10, 12), (128, 128, 256, 400), (0.2, 0.2, 0.25, 0.4, 0.5)),
}


def for_levels(levels: int) -> AuthorsLevels:
    """The defaults for a number of cluster levels; beyond four, the values of the coarsest level are repeated."""
    usual, further = BY_LEVELS[min(levels, 4)], max(levels - 4, 0)
    return AuthorsLevels(
        usual.layers[:1] * further + usual.layers,
        usual.beams[:1] * further + usual.beams,
        usual.dropout[:1] * further + usual.dropout,
    )
