"""Labels that are added to a trained classifier by their texts, and by example texts if there are some.

The labels of the model are ranked by the model as before, so their scores do not change; the added ones are scored
beside them and merged into the ranking.

To a model of linear trees, an added label is one more linear classifier, without a tree (`linear/added.py`). Its
score becomes a probability as those of the trees do. In other models it is compared with the text:

    similarity(text, label) = the mean, over the spaces of the model, of the cosine of the text and the label
    label                   = the mean of the unit vectors of the label's text and of its example texts
    score                   = slope · similarity + offset, through the logistic function where scores are
    probabilities

The spaces are what the model reads: its embedding, its TF-IDF features, or both. A dual encoder scores by the
cosine already, so slope and offset are its own; for other models they are estimated (`models/added_scale.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from megalabel.data.texts import Texts
from megalabel.errors import SettingError
from megalabel.kernels.sparse.merge_topk import best_of
from megalabel.models.added_scale import Rows
from megalabel.models.added_scores import WHAT, AddedLabels, LinearLabels, SimilarLabels
from megalabel.models.base import Advance, Classifier, read_model_manifest
from megalabel.models.composed import BASE, ComposedClassifier, inner_model
from megalabel.models.facts import pass_on
from megalabel.models.label_names import NAMES, load_names, save_names
from megalabel.models.neural import NeuralClassifier
from megalabel.types import TopK

TEXTS = 1024  # texts that are compared with all added labels at once


class ExtendedClassifier(ComposedClassifier):
    """A classifier over the L labels of another one and n labels that were added to it.

    Args:
        base_model: the classifier over the labels 0 to L − 1.
        added: the names of the labels L to L + n − 1.
        ranker: scores the added labels.

    Raises:
        SettingError: numbers of names and labels that differ.
    """

    def __init__(self, base_model: Classifier, added: Texts, ranker: AddedLabels) -> None:
        if len(ranker) != len(added):
            raise SettingError(
                f"{len(added)} names of {len(ranker)} labels", wanted="a name for each", where="added"
            )
        self.base_model, self.added, self.ranker = base_model, added, ranker
        self.label_texts = Texts.joined(base_model.label_texts, added)
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
            scores = self.ranker.scores([space[rows] for space in spaces], self.score_type)
            hidden = exclude[(exclude[:, 0] >= start) & (exclude[:, 0] < start + TEXTS)]
            scores[hidden[:, 0] - start, hidden[:, 1]] = -np.inf
            there = np.where(np.isfinite(scores), np.arange(n_old, n_old + n), -1)
            ids[rows], best[rows] = best_of(torch.from_numpy(there), torch.from_numpy(scores), k).numpy()
        return ids, best

    def label_spaces(self, texts: Sequence[str]) -> list[Any]:
        """Those of the base model."""
        return self.base_model.label_spaces(texts)

    def inner_models(self) -> dict[str, Classifier]:
        """The base model."""
        return {BASE: self.base_model}

    def _write(self, folder: Path) -> dict[str, Any]:
        save_names(folder, self.added)
        return self.ranker.save(folder)

    @classmethod
    def _read(cls, folder: Path, device: torch.device, trust: Sequence[str]) -> Self:
        manifest = read_model_manifest(folder, WHAT, files=(NAMES,))
        kind = LinearLabels if manifest.get("added") == LinearLabels.kind else SimilarLabels
        base, added = inner_model(folder, BASE, device, trust), load_names(folder)
        return cls(base, added, kind.load(folder, manifest, len(added), base.label_spaces(["a text"])))
