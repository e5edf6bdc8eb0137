"""A classifier without some of the labels of another one, with other names, or with labels that became one.

The labels are ranked by the model as before, and the ranking is rewritten: a removed label is left out, merged
labels have the best score of any of them. A label that the model ranks among its k best keeps exactly that score.
Where a text then has fewer than k labels, the model ranks it deeper, and what is found is appended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from megalabel.data.texts import Texts
from megalabel.errors import RESTORE_FOLDER, DataError, SettingError
from megalabel.models.base import Advance, Classifier, read_model_manifest
from megalabel.models.composed import BASE, ChangedClassifier, inner_model
from megalabel.models.facts import pass_on
from megalabel.models.label_ids import check_names, ids_of, pairs_of_rows
from megalabel.models.label_names import NAMES, load_names, save_names
from megalabel.storage.manifest import check_listed
from megalabel.types import TopK

TARGET = "target.npy"


class RelabeledClassifier(ChangedClassifier):
    """A classifier over n labels that are those of another one, or groups of them.

    Args:
        base_model: the classifier over L labels.
        target: (L,) int64, the new id of each of its labels, −1 for one that is removed; each new id occurs.
        label_texts: the names of the n labels.

    Raises:
        SettingError: targets that do not fit the labels of the model or the names, or no label is left.
    """

    def __init__(self, base_model: Classifier, target: np.ndarray, label_texts: Texts) -> None:
        target = np.asarray(target, np.int64)
        n = len(label_texts)
        members = np.bincount(target[target >= 0], minlength=n) if target.ndim == 1 else np.zeros(0)
        if target.shape != (len(base_model.label_texts),) or n == 0 or len(members) != n or members.min() == 0:
            raise SettingError(
                f"targets {target.shape} up to {target.max(initial=-1)} for {n} names",
                wanted=f"({len(base_model.label_texts)},), each of the numbers from 0 to {n - 1} once or more",
                next_step="leave at least one label" if n == 0 else None,
                where="target",
            )
        self.base_model, self.target, self.label_texts = base_model, target, label_texts
        self.n_features, self.score_type = base_model.n_features, base_model.score_type
        self.loss_name, self.block_size = base_model.loss_name, base_model.block_size
        self._members = np.argsort(np.where(target < 0, n, target), kind="stable")[: members.sum()]
        self._starts = np.append(0, np.cumsum(members))
        pass_on(base_model, self, target)

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts."""
        pairs = None if exclude is None else self._pairs(np.asarray(exclude, np.int64).reshape(-1, 2))
        n_base, depth = len(self.base_model.label_texts), self.base_model.reach(k)
        found = self.base_model.rank(texts, depth, exclude=pairs, batch_size=batch_size, advance=advance).numpy()
        ids, scores = self._rewritten(*found, k)
        short = np.flatnonzero((ids < 0).any(axis=1) & (found[0] >= 0).all(axis=1))
        while len(short) and depth < n_base:
            depth = min(2 * depth + 16, n_base)
            own = pairs_of_rows(pairs, short)
            part = texts[short] if self.n_features is not None else [texts[int(i)] for i in short]
            deep = self.base_model.rank(
                part, depth, exclude=own, batch_size=batch_size, advance=lambda n: None
            ).numpy()
            more = self._rewritten(*deep, depth)
            ids[short], scores[short] = _appended(ids[short], scores[short], *more)
            short = short[(ids[short] < 0).any(axis=1) & (deep[0] >= 0).all(axis=1)]
        return TopK(ids, scores)

    def restricted(self, labels: np.ndarray) -> RelabeledClassifier | None:
        """The same over some labels, (n,) int64 ascending, if the base model has it."""
        members = np.flatnonzero(np.isin(self.target, labels))
        base = self.base_model.restricted(members)
        if base is None:
            return None
        names = Texts.from_strings([self.label_texts[i] for i in labels.tolist()])
        return RelabeledClassifier(base, np.searchsorted(labels, self.target[members]), names)

    def _rewritten(self, ids: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """A ranking (N, m) with new ids: at most k per text, -1 and -inf where there are fewer."""
        new = np.where(ids < 0, -1, self.target[ids])
        new[~_first(new)] = -1
        return _packed(new, scores, k)

    def _pairs(self, exclude: np.ndarray) -> np.ndarray:
        """Pairs (row, label) with the labels of the base model; DataError for a label that there is not."""
        highest, n = int(exclude[:, 1].max(initial=-1)), len(self.label_texts)
        if highest >= n or exclude[:, 1].min(initial=0) < 0:
            raise DataError(f"excluded labels up to {highest}", wanted=f"0 to {n - 1}", where="exclude")
        sizes = np.diff(self._starts)[exclude[:, 1]]
        before = np.cumsum(sizes) - sizes
        at = np.repeat(self._starts[exclude[:, 1]] - before, sizes) + np.arange(sizes.sum())
        return np.stack([np.repeat(exclude[:, 0], sizes), self._members[at]], axis=1)

    @classmethod
    def changed(cls, model: Classifier, target: np.ndarray, names: Sequence[str]) -> RelabeledClassifier:
        """A model over other labels; of a relabeled model, its base model is relabeled instead.

        Args:
            model: any classifier.
            target: (L,) for each of its labels the first label that it is merged with, itself if with none; −1
                for one that is removed.
            names: (L,) the name of each label, used for those that are left.
        """
        firsts = np.flatnonzero(target == np.arange(len(target)))
        position = np.full(len(target), -1)
        position[firsts] = np.arange(len(firsts))
        target = np.where(target < 0, -1, position[target])
        kept = Texts.from_strings([names[int(i)] for i in firsts])
        if not isinstance(model, cls):
            return cls(model, target, kept)
        found = cls(model.base_model, np.where(model.target < 0, -1, target[model.target]), kept)
        pass_on(model, found, target)
        return found

    def _write(self, folder: Path) -> dict[str, Any]:
        save_names(folder, self.label_texts)
        np.save(folder / TARGET, self.target)
        return {}

    @classmethod
    def _read(cls, folder: Path, device: torch.device, trust: Sequence[str]) -> Self:
        what = "model with changed labels"
        manifest = read_model_manifest(folder, what, files=(NAMES,))
        check_listed(manifest, what, folder, files=(TARGET,), next_step=RESTORE_FOLDER)
        base = inner_model(folder, BASE, device, trust)
        target = np.load(folder / TARGET, allow_pickle=False)
        if target.dtype != np.int64 or target.ndim != 1 or target.min(initial=0) < -1:
            raise ValueError(f"targets of {target.dtype} from {target.min(initial=0)}")
        return cls(base, target, load_names(folder))


def without(model: Classifier, labels: Sequence[str | int]) -> RelabeledClassifier:
    """The result of `Classifier.without_labels`, whose arguments and errors these are."""
    target = np.arange(len(model.label_texts))
    target[ids_of(model.label_texts, labels, model.metadata)] = -1
    if (target < 0).all():
        raise SettingError("all labels", wanted="at least one label that stays", where="labels")
    return RelabeledClassifier.changed(model, target, model.label_texts)


def renamed(model: Classifier, labels: Mapping[str | int, str]) -> RelabeledClassifier:
    """The result of `Classifier.rename_labels`, whose arguments and errors these are."""
    if not isinstance(labels, Mapping):
        raise SettingError(
            f"{labels!r:.80}", wanted="new names by old ones, such as {'old': 'new'}", where="labels"
        )
    at = ids_of(model.label_texts, list(labels), model.metadata)
    names = list(model.label_texts)
    for i, name in zip(at.tolist(), labels.values(), strict=True):
        names[i] = name
    check_names(names, at)
    return RelabeledClassifier.changed(model, np.arange(len(names)), names)


def merged(model: Classifier, labels: Mapping[str, Sequence[str | int]]) -> RelabeledClassifier:
    """The result of `Classifier.merge_labels`, whose arguments and errors these are."""
    if not isinstance(labels, Mapping) or not labels:
        raise SettingError(
            f"{labels!r:.80}", wanted="the labels that become one, by their new name, such as {'new': ['a', 'b']}",
            where="labels",
        )  # fmt: skip
    target, names = np.arange(len(model.label_texts)), list(model.label_texts)
    groups = [ids_of(model.label_texts, group, model.metadata) for group in labels.values()]
    all_ids = np.concatenate(groups)
    if len(np.unique(all_ids)) != len(all_ids):
        twice = model.label_texts[int(np.argmax(np.bincount(all_ids)))]
        raise SettingError(f"the label {twice!r:.80} in two groups", wanted="each label once", where="labels")
    for name, group in zip(labels, groups, strict=True):
        target[group] = group.min()
        names[int(group.min())] = name
    firsts = np.array([group.min() for group in groups])
    left = np.flatnonzero(target == np.arange(len(target)))
    step = "name the label that has this name among those that are merged, too"
    check_names([names[int(i)] for i in left], np.searchsorted(left, firsts), step)
    return RelabeledClassifier.changed(model, target, names)


def _first(ids: np.ndarray) -> np.ndarray:
    """Whether each id (N, m) is the first of its value in its row; −1 never is."""
    order = np.argsort(ids, axis=1, kind="stable")
    ordered = np.take_along_axis(ids, order, axis=1)
    first = np.ones(ids.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    found = np.empty(ids.shape, bool)
    np.put_along_axis(found, order, first & (ordered >= 0), axis=1)
    return found


def _packed(ids: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, m) without their −1, cut or padded to k."""
    order = np.argsort(ids < 0, axis=1, kind="stable")[:, :k]
    ids, scores = np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
    scores = np.where(ids < 0, -np.inf, scores).astype(np.float32)
    wide = ((0, 0), (0, k - ids.shape[1]))
    return np.pad(ids, wide, constant_values=-1), np.pad(scores, wide, constant_values=-np.inf)


def _appended(
    ids: np.ndarray, scores: np.ndarray, more: np.ndarray, more_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rankings (n, k) with the labels of deeper ones (n, m) that they lack, by score."""
    both, k = np.concatenate([ids, more], axis=1), ids.shape[1]
    both[~_first(both)] = -1
    values = np.where(both < 0, -np.inf, np.concatenate([scores, more_scores], axis=1))
    order = np.argsort(-values, axis=1, kind="stable")
    return _packed(np.take_along_axis(both, order, axis=1), np.take_along_axis(values, order, axis=1), k)
