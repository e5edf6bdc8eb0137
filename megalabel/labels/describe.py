"""A label tree in lines for people: how many children its nodes have, and which labels ended together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.labels.tree import LabelTree

SHOWN = 12  # labels of an example
LONGEST = 60  # characters of a label's text


def describe(tree: LabelTree, label_texts: Sequence[str] | None = None, examples: int = 6) -> list[str]:
    """See `LabelTree.describe`; `label_texts` are the L names, without which no clusters are shown."""
    if examples < 0:
        raise SettingError(f"examples = {examples}", wanted="0 or more", next_step="leave examples out")
    if label_texts is not None and len(label_texts) != tree.n_labels:
        raise SettingError(
            f"{len(label_texts):,} label texts for a tree over {tree.n_labels:,} labels",
            wanted="the text of each label",
            next_step="give the label texts of the data that the tree was built for",
        )
    lines = [f"{tree.n_labels:,} labels under {tree.depth} level{'s' if tree.depth > 1 else ''} of clusters"]
    lines.append(f"{'level':<8} {'nodes':>11} {'children':>26}")
    for level, offsets in enumerate(tree.offsets):
        counts = np.diff(offsets)
        spread = f"{counts.min():,} to {counts.max():,}, mean {counts.mean():.2f}"
        lines.append(f"{level:<8} {tree.sizes[level]:>11,} {spread:>26}")
    lines += [f"{key}: {_told(value)}" for key, value in tree.built.items()]
    if label_texts is None:
        return lines
    leaves = tree.offsets[-1]
    n = min(examples, tree.sizes[-2])
    for leaf in (np.arange(n) * tree.sizes[-2] // max(n, 1)).tolist():
        labels = tree.order[leaves[leaf] : leaves[leaf + 1]].tolist()
        names = " | ".join(_short(label_texts[label]) or f"(label {label})" for label in labels[:SHOWN])
        more = f" | … {len(labels) - SHOWN:,} more" if len(labels) > SHOWN else ""
        lines.append(f"leaf {leaf}: {names}{more}")
    return lines


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_told, value))
    return "none" if value is None else str(value)
