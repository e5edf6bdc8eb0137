"""Labels of a model by their names, URIs or ids, and checks of new names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from megalabel.data.label_lookup import labels_named
from megalabel.data.label_metadata import LabelMetadata
from megalabel.errors import SettingError

WANTED = "names, URIs or ids of labels of the model"
MERGE = "merge labels with merge_labels, or --merge, where they mean the same"


def ids_of(names: Sequence[str], labels: Sequence[Any], metadata: LabelMetadata | None = None) -> np.ndarray:
    """The ids of labels that are given by name or id, without repetitions in their order: (n,) int64.

    With metadata, a text that is no name is a URI, a notation or an alternative name.

    Raises:
        SettingError: not a list, no labels, no label has a name or id, or several have it.
    """
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Sequence):
        raise SettingError(
            f"{labels!r:.80}",
            wanted=f"a list of {WANTED}",
            next_step="write [label] for one label",
            where="labels",
        )
    if not labels:
        raise SettingError("no labels", wanted=f"one or more {WANTED}", where="labels")
    by_name = labels_named(names, metadata, {label for label in labels if isinstance(label, str)})
    found = [_id_of(label, by_name, len(names)) for label in labels]
    return np.array(list(dict.fromkeys(found)), np.int64)


def _id_of(label: Any, by_name: dict[str, list[int]], n: int) -> int:
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool):
        if not 0 <= label < n:
            raise SettingError.range("label", int(label), 0, n - 1, integer=True)
        return int(label)
    if not isinstance(label, str):
        raise SettingError(f"{label!r:.80} as a label", wanted=WANTED, where="labels")
    found = by_name.get(label, [])
    if len(found) > 1:
        raise SettingError(
            f"{len(found)} labels are called {label!r:.80}", wanted="one label",
            next_step=f"give an id: {', '.join(map(str, found[:5]))}", where="labels",
        )  # fmt: skip
    if not found:
        raise SettingError(f"no label is called {label!r:.80}", wanted=WANTED, where="labels")
    return found[0]


def check_names(names: Sequence[str], changed: np.ndarray, next_step: str = MERGE) -> None:
    """SettingError unless the changed ones of some names are not blank, and no other label has them."""
    for i in changed.tolist():
        if not isinstance(names[i], str) or not names[i].strip():
            raise SettingError(f"the name {names[i]!r:.80}", wanted="a text that is not blank", where="labels")
    new = {names[i] for i in changed.tolist()}
    same = [name for name in names if name in new]
    if len(same) != len(new) or len(new) != len(changed):
        twice = next(name for name in same if same.count(name) > 1)
        raise SettingError(
            f"several labels with the name {twice!r:.80}", wanted="a name for each label of its own",
            next_step=next_step, where="labels",
        )  # fmt: skip


def pairs_of_rows(pairs: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """The (F, 2) pairs of some rows, which are ascending, with these numbered from 0; None for None."""
    if pairs is None:
        return None
    places = np.minimum(np.searchsorted(rows, pairs[:, 0]), len(rows) - 1)
    inside = rows[places] == pairs[:, 0]
    return np.stack([places[inside], pairs[inside, 1]], axis=1)
