"""Describes a label tree in lines of text: its levels, the children of its nodes, and some of its clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from megalabel.errors import SettingError
from megalabel.labels.tree import LabelTree

MAX_LABELS = 12  # labels shown per cluster
MAX_CHARACTERS = 60  # characters shown per label


def describe(tree: LabelTree, label_texts: Sequence[str] | None = None, examples: int = 6) -> list[str]:
    """Describes a label tree in lines of text.

    Args:
        tree: a tree over L labels.
        label_texts: the L label names; without them no clusters are shown.
        examples: how many of the finest clusters are shown.

    Raises:
        SettingError: `examples` is negative, or the number of label texts is not L.
    """
    if examples < 0:
        raise SettingError.range("examples", examples, 0, integer=True)
    if label_texts is not None and len(label_texts) != tree.n_labels:
        raise SettingError(
            f"{len(label_texts):,} label texts for a tree over {tree.n_labels:,} labels",
            wanted="one text per label, of the data set for which the tree was built",
        )
    lines = [f"{tree.n_labels:,} labels under {tree.depth} level{'s' if tree.depth > 1 else ''} of clusters"]
    lines.append(f"{'level':<8} {'nodes':>11} {'children':>26}")
    for level, offsets in enumerate(tree.offsets):
        counts = np.diff(offsets)
        spread = f"{counts.min():,} to {counts.max():,}, mean {counts.mean():.2f}"
        lines.append(f"{level:<8} {tree.sizes[level]:>11,} {spread:>26}")
    lines += [f"{key}: {_shown(value)}" for key, value in tree.built.items()]
    if label_texts is None:
        return lines
    leaves = tree.offsets[-1]
    n = min(examples, tree.sizes[-2])
    for leaf in (np.arange(n) * tree.sizes[-2] // max(n, 1)).tolist():
        labels = tree.order[leaves[leaf] : leaves[leaf + 1]].tolist()
        names = " | ".join(_short(label_texts[label]) or f"(label {label})" for label in labels[:MAX_LABELS])
        more = f" | … {len(labels) - MAX_LABELS:,} more" if len(labels) > MAX_LABELS else ""
        lines.append(f"leaf {leaf}: {names}{more}")
    return lines


def _short(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1].rstrip() + "…"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return "none" if value is None else str(value)
