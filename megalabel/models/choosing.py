"""The best labels among some: lists of labels that are allowed or denied, for all texts or for each.

Few allowed labels (below 2%, or 2,048) are scored alone, by `restricted`: an exact ranking of these labels. Where
a model cannot do that, and for more labels, rankings are read deeper until enough are found; rows that a search
leaves unfilled are scored by `restricted` where the model has it. No array has texts × labels cells: deep
rankings are made of a few texts at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from megalabel.models.label_ids import pairs_of_rows
from megalabel.models.label_lists import Choice, Ranker
from megalabel.types import TopK

SHARE, FEW = 0.02, 2048  # of the labels, up to which allowed labels are scored alone
DENIED = 4096  # denied labels per text that are left out by pairs
CELLS = 1 << 22  # labels of all texts that are ranked together

_RESTRICTED: WeakKeyDictionary[Any, tuple[bytes, Any]] = WeakKeyDictionary()  # the last one of each model


def best(model: Ranker, texts: Any, k: int, choice: Choice, *, batch_size: int = 256) -> TopK:
    """The k best labels of each text among those that a choice leaves.

    Args:
        model: the model.
        texts: N texts or rows, checked.
        k: labels per text, at most L.
        choice: for all texts or each of N.
        batch_size: number of texts that are scored together.

    Returns:
        Labels (N, k) int64 and scores (N, k) float32, -1 and -inf where fewer labels are left or found.
    """
    if choice.allow is None and choice.deny is None:
        return model.topk(texts, k, batch_size=batch_size)
    n = texts.shape[0] if hasattr(texts, "shape") else len(texts)
    ids, scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    for rows, allow, deny in _groups(choice, n, len(model.label_texts)):
        found = _ranked(model, texts, rows, k, allow, deny, batch_size)
        width = found[0].shape[1]
        ids[rows, :width], scores[rows, :width] = found
    return TopK(ids, scores)


def _groups(choice: Choice, n: int, n_labels: int) -> list[tuple[np.ndarray, np.ndarray | None, list[Any]]]:
    """Rows with the same allowed labels, which are None for all, and the labels denied to each of the rows."""
    by_list: dict[bytes, tuple[list[int], np.ndarray | None, list[Any]]] = {}
    for row in range(n):
        allow, deny = choice.of(row)
        if allow is None and deny is not None and len(deny) > DENIED:
            kept = np.ones(n_labels, np.bool_)
            kept[deny] = False
            allow, deny = np.flatnonzero(kept), None
        key = b"" if allow is None else b"a" + allow.tobytes()
        rows, _, denied = by_list.setdefault(key, ([], allow, []))
        rows.append(row)
        denied.append(deny)
    return [(np.array(rows), allow, denied) for rows, allow, denied in by_list.values()]


def _ranked(
    model: Ranker, texts: Any, rows: np.ndarray, k: int, allow: np.ndarray | None, deny: list[Any], batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best labels of some rows, which have the same allowed labels."""
    most = max((len(labels) for labels in deny if labels is not None), default=0)
    size = max(1, CELLS // max(most, k))
    parts = []
    few = allow is not None and len(allow) <= max(SHARE * len(model.label_texts), FEW)
    alone = None if allow is None or not few else restricted_to(model, allow)
    for start in range(0, len(rows), size):
        part, pairs = _at(texts, rows[start : start + size]), _pairs(deny[start : start + size])
        if allow is None:
            found = model.topk(part, k, exclude=pairs, batch_size=batch_size).numpy()
        elif alone is not None:
            found = _alone(alone, part, k, allow, pairs, batch_size)
        else:
            found = _deeper(model, part, k, allow, pairs, batch_size)
        parts.append(found)
    ids, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    return ids, scores


def restricted_to(model: Ranker, labels: np.ndarray) -> Ranker | None:
    """`model.restricted(labels)`; the last one of a model is kept."""
    if len(labels) == 0:
        return None
    key, kept = labels.tobytes(), _RESTRICTED.get(model)
    if kept is None or kept[0] != key:
        kept = (key, model.restricted(labels))
        _RESTRICTED[model] = kept
    found: Ranker | None = kept[1]
    return found


def _alone(
    alone: Ranker, texts: Any, k: int, allow: np.ndarray, pairs: np.ndarray | None, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of the allowed labels by a model over these alone."""
    if pairs is not None:
        places = np.minimum(np.searchsorted(allow, pairs[:, 1]), len(allow) - 1)
        inside = allow[places] == pairs[:, 1]
        pairs = np.stack([pairs[inside, 0], places[inside]], axis=1)
    ids, scores = alone.topk(texts, min(k, len(allow)), exclude=pairs, batch_size=batch_size).numpy()
    return np.where(ids < 0, -1, allow[np.maximum(ids, 0)]), scores


def _deeper(
    model: Ranker, texts: Any, k: int, allow: np.ndarray, pairs: np.ndarray | None, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of the allowed labels by rankings that become deeper until enough of them are found."""
    n, n_labels = (texts.shape[0] if hasattr(texts, "shape") else len(texts)), len(model.label_texts)
    wanted = min(k, len(allow))
    ids, scores = np.full((n, wanted), -1, np.int64), np.full((n, wanted), -np.inf, np.float32)
    allowed = np.zeros(n_labels, np.bool_)
    allowed[allow] = True
    left = np.arange(n if wanted else 0)
    depth = min(2 * k * n_labels // max(len(allow), 1) + k, n_labels)
    while len(left):
        unfilled = []
        size = max(1, CELLS // depth)
        for start in range(0, len(left), size):
            part = left[start : start + size]
            own = pairs_of_rows(pairs, part)
            found = model.topk(_at(texts, part), depth, exclude=own, batch_size=batch_size).numpy()
            out = (found[0] < 0) | ~allowed[np.maximum(found[0], 0)]
            order = np.argsort(out, axis=1, kind="stable")[:, :wanted]
            top = [np.take_along_axis(array, order, 1) for array in (*found, out)]
            width = top[0].shape[1]
            ids[part, :width] = np.where(top[2], -1, top[0])
            scores[part, :width] = np.where(top[2], -np.inf, top[1])
            unfilled.append(part[(ids[part] < 0).any(axis=1) & (found[0][:, -1] >= 0)])
        left = np.concatenate(unfilled)
        if depth == n_labels:
            break
        depth = min(4 * depth, n_labels)
    short = np.flatnonzero((ids < 0).any(axis=1))
    alone = restricted_to(model, allow) if len(short) else None
    if alone is not None:
        ids[short], scores[short] = _alone(
            alone, _at(texts, short), wanted, allow, pairs_of_rows(pairs, short), batch_size
        )
    return ids, scores


def _at(texts: Any, rows: np.ndarray) -> Any:
    if hasattr(texts, "shape"):
        return texts[rows]
    return [texts[i] for i in rows.tolist()]


def _pairs(deny: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The denied labels of some texts as (F, 2) pairs; None for none."""
    lists = [np.zeros(0, np.int64) if labels is None else labels for labels in deny]
    if not any(len(labels) for labels in lists):
        return None
    rows = np.repeat(np.arange(len(lists)), [len(labels) for labels in lists])
    return np.stack([rows, np.concatenate(lists)], axis=1)
