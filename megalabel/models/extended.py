"""Labels that are added to a trained classifier by their texts, and by example texts if there are some.

    similarity(text, label) = the mean, over the spaces of the model, of the cosine of the text and the label
    label                   = the mean of the unit vectors of the label's text and of its example texts
    score                   = slope · similarity + offset, through the logistic function where scores are
    probabilities

The spaces are what the model reads: its embedding, its TF-IDF features, or both. The labels of the model are
ranked by the model as before, so their scores do not change; the added ones are scored beside them and merged into
the ranking.

A dual encoder scores by the cosine already, so slope and offset are its own. For other models they are estimated:
label texts of labels that the model knows are taken as if they were added labels. On the same texts, the best,
second best, … of their similarities are set against the scores that the model gives to labels of these ranks, and
slope and offset are the line through the medians. A typical added label then ranks as high as a typical trained
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp
import torch
from scipy.special import expit

from megalabel.data.texts import Texts
from megalabel.device import pick
from megalabel.errors import RESTORE_FOLDER, DataError, SettingError
from megalabel.kernels.sparse.merge_topk import best_of
from megalabel.kernels.sparse.sparse_rows import as_rows
from megalabel.models.base import FORMAT, Advance, Classifier, check_room, class_name, load, read_model_manifest
from megalabel.models.calibration import cosines, unit
from megalabel.models.facts import load_facts, pass_on, save_facts
from megalabel.models.label_names import NAMES, load_names, save_names
from megalabel.models.neural import NeuralClassifier
from megalabel.models.reading import read_model
from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import check_listed, inner_folder, write_manifest
from megalabel.types import TopK

if TYPE_CHECKING:
    from megalabel.models.calibration import Rows

TEXTS = 1024  # texts that are compared with all added labels at once
CSR = ("data", "indices", "indptr", "shape")


class ExtendedClassifier(Classifier):
    """A classifier over the L labels of another one and n labels that were added to it.

    Args:
        base_model: the classifier over the labels 0 to L − 1.
        added: the names of the labels L to L + n − 1.
        prototypes: for each space of the base model, the unit vectors of the added labels: (n, D_i) float32, CSR
            or arrays.
        slope, offset: from the similarity to the score.

    Raises:
        SettingError: numbers of names and vectors that differ.
    """

    def __init__(
        self, base_model: Classifier, added: Texts, prototypes: Sequence[Rows], slope: float, offset: float
    ) -> None:
        if not prototypes or {rows.shape[0] for rows in prototypes} != {len(added)}:
            raise SettingError(
                f"vectors of {[rows.shape[0] for rows in prototypes]} labels for {len(added)} names",
                wanted="a vector for each added label in one or more spaces",
                where="prototypes",
            )
        self.base_model, self.added, self.prototypes = base_model, added, list(prototypes)
        self.slope, self.offset = float(slope), float(offset)
        self.label_texts = Texts.from_strings([*base_model.label_texts, *added])
        self.n_features, self.score_type = base_model.n_features, base_model.score_type
        self.loss_name, self.block_size = base_model.loss_name, base_model.block_size
        pass_on(base_model, self, np.arange(len(base_model.label_texts)))

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts: those of the base model, and the added ones."""
        n_old = len(self.base_model.label_texts)
        pairs = np.zeros((0, 2), np.int64) if exclude is None else np.asarray(exclude)
        old, new = pairs[pairs[:, 1] < n_old], pairs[pairs[:, 1] >= n_old]
        kept = None if exclude is None else old
        base, reach = self.base_model, self.base_model.reach(k)
        if isinstance(base, NeuralClassifier):  # so that the texts are encoded once
            top, views = base.topk_and_embedding(texts, reach, exclude=kept, batch_size=batch_size)
            spaces: list[Rows] = [views]
            advance(len(texts))
        else:
            top = base.rank(texts, reach, exclude=kept, batch_size=batch_size, advance=advance)
            spaces = base.label_spaces(texts)
        added = self._best(spaces, new - [0, n_old], k)
        labels, values = (np.concatenate(pair, axis=1) for pair in zip(top.numpy(), added, strict=True))
        return best_of(torch.from_numpy(labels), torch.from_numpy(values), k)

    def _best(self, spaces: Sequence[Rows], exclude: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best added labels by the vectors of N texts: ids, -1 for none, and scores, both (N, min(k, n))."""
        n_old, n, n_texts = len(self.base_model.label_texts), len(self.added), spaces[0].shape[0]
        ids, best = np.empty((n_texts, min(k, n)), np.int64), np.empty((n_texts, min(k, n)), np.float32)
        for start in range(0, n_texts, TEXTS):
            rows = slice(start, start + TEXTS)
            value = self.slope * cosines([unit(space[rows]) for space in spaces], self.prototypes) + self.offset
            scores = (expit(value) if self.score_type == "probability" else value).astype(np.float32)
            hidden = exclude[(exclude[:, 0] >= start) & (exclude[:, 0] < start + TEXTS)]
            scores[hidden[:, 0] - start, hidden[:, 1]] = -np.inf
            there = np.where(np.isfinite(scores), np.arange(n_old, n_old + n), -1)
            ids[rows], best[rows] = best_of(torch.from_numpy(there), torch.from_numpy(scores), k).numpy()
        return ids, best

    def label_spaces(self, texts: Sequence[str]) -> list[Any]:
        """Those of the base model."""
        return self.base_model.label_spaces(texts)

    def save(self, folder: str | Path) -> None:
        """Writes the base model and the added labels; an older model there is replaced. SettingError otherwise."""
        folder = check_room(folder)
        with atomic_folder(folder) as new:
            self.base_model.save(new / "base")
            save_names(new, self.added)
            save_facts(new, self, [self.base_model])
            for i, rows in enumerate(self.prototypes):
                if sp.issparse(rows):
                    for name in CSR:
                        np.save(new / f"space{i}-{name}.npy", np.asarray(getattr(rows, name)))
                else:
                    np.save(new / f"space{i}.npy", rows)
            facts = {"model": class_name(self), "n_labels": len(self.label_texts), "spaces": len(self.prototypes)}
            write_manifest(new, FORMAT, {**facts, "slope": self.slope, "offset": self.offset})

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """Reads what `save` wrote; `device` and `trust` apply to the base model."""
        device = pick(device)
        return read_model(folder, lambda place: cls._read(place, device, trust))

    @classmethod
    def _read(cls, folder: Path, device: torch.device, trust: Sequence[str]) -> Self:
        facts = ("spaces", "slope", "offset")
        manifest = read_model_manifest(folder, "model with added labels", facts=facts, files=(NAMES,))
        slope, offset = float(manifest["slope"]), float(manifest["offset"])
        if not np.isfinite([slope, offset]).all():
            raise ValueError(f"a slope of {slope} and an offset of {offset}")
        base = load(inner_folder(folder, "base", next_step=RESTORE_FOLDER), device=device, trust=trust)
        spaces = [unit(rows) for rows in base.label_spaces(["a text"])]
        if manifest["spaces"] != len(spaces):
            raise ValueError(f"{manifest['spaces']!r:.40} spaces in place of {len(spaces)}")
        added = load_names(folder)
        prototypes = [_read_rows(folder, i, manifest, len(added), rows) for i, rows in enumerate(spaces)]
        model = cls(base, added, prototypes, slope, offset)
        load_facts(folder, model)
        return model


def _read_rows(folder: Path, i: int, manifest: dict[str, Any], n: int, like: Rows) -> Rows:
    """The vectors of the added labels in a space; ValueError or DataError where they do not fit the base model."""

    def array(name: str) -> np.ndarray:
        check_listed(manifest, "model with added labels", folder, files=(name,), next_step=RESTORE_FOLDER)
        found: np.ndarray = np.load(folder / name, allow_pickle=False)
        return found

    if sp.issparse(like):
        data, indices, indptr, shape = (array(f"space{i}-{name}.npy") for name in CSR)
        rows = as_rows(sp.csr_matrix((data, indices, indptr), shape=tuple(shape.tolist())), "added labels")
    else:
        rows = array(f"space{i}.npy")
        if rows.dtype != np.float32 or not np.isfinite(rows).all():
            raise DataError(
                "vectors that are not finite", wanted="float32", next_step=RESTORE_FOLDER, where=folder
            )
    if rows.shape != (n, like.shape[1]):
        raise ValueError(f"vectors {rows.shape} of {n} labels in a space of {like.shape[1]}")
    return rows
