"""The levels of a cascade over L labels: clusters, and the beams of the authors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megalabel.errors import SettingError

LEAF_LABELS, STEP, MAX_FIRST_DEPTH, MAX_LEVELS = 8, 3, 11, 4  # as in `labels/cluster.py`
# As in `recipes/levels.py`, by the number of cluster levels.
BEAMS = {1: (64,), 2: (64, 64), 3: (128, 256, 400), 4: (128, 128, 256, 400)}


@dataclass(frozen=True)
class Levels:
    """The levels of a cascade: `sizes` nodes, labels last, and `beams` clusters kept per cluster level."""

    sizes: tuple[int, ...]
    beams: tuple[int, ...]


def depths_for(n_labels: int) -> tuple[int, ...]:
    """The depths that `labels.cluster.choose_depths` chooses."""
    depths = [max(1, round(math.log2(max(n_labels, 2) / LEAF_LABELS)))]
    while depths[0] > MAX_FIRST_DEPTH and len(depths) < MAX_LEVELS:
        depths.insert(0, depths[0] - STEP)
    return tuple(depths)


def levels_of(n_labels: int, values: Mapping[str, Any]) -> Levels:
    """The levels for a number of labels, or those of the folder that the option `tree` names."""
    if values.get("tree"):
        clusters = _stored(Path(str(values["tree"])))
    else:
        clusters = tuple(values.get("clusters") or (2**depth for depth in depths_for(n_labels)))
    beams = tuple(values.get("beams") or ())
    if not beams:
        usual = BEAMS[min(len(clusters), 4)]
        beams = usual[:1] * (len(clusters) - len(usual)) + usual
    sizes = (*(min(n, n_labels) for n in clusters), n_labels)
    return Levels(sizes, tuple(min(beam, size) for beam, size in zip(beams, sizes, strict=False)))


def _stored(folder: Path) -> tuple[int, ...]:
    try:
        facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return tuple(int(n) for n in facts["tree"][:-1])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"{folder} holds no label tree ({error})",
            wanted="a folder of `megalabel tree build`",
            where="tree",
        ) from error
