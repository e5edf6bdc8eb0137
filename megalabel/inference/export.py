"""Embeddings, shortlists and scores of both sides of a data set, as npz files for programs of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.data.types import Split
from megalabel.heads.abilities import having
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.cascade_levels import CascadeLevels
from megalabel.inference.evaluate import check_labels
from megalabel.inference.levels import views_of
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.labels.tree import new_folder
from megalabel.metrics.topk import checked_arrays
from megalabel.models.base import Classifier
from megalabel.models.chunked import described
from megalabel.models.neural import NeuralClassifier
from megalabel.storage.files import atomic_folder, write_json
from megalabel.types import TopK

K = 100  # labels whose scores are kept


def export(
    model: Classifier,
    data: Corpus,
    folder: str | Path,
    *,
    k: int = K,
    batch_size: int = 256,
    progress: bool = False,
) -> list[str]:
    """Writes what a model makes of the training and the test texts into a new folder; `progress` shows bars.

    For each side SIDE, "train" and, if there is one, "test":

    * SIDE_scores.npz: the k best labels as a scipy CSR matrix (texts × labels) float32. Filter pairs are left out.
      Scores of 0 are kept as the least float above it.
    * SIDE.npz, of a neural model: `embeddings` (N, D) float32, the vector that the labels are scored from, behind
      a projection if the model has one; of a cascade also `level0`, … (N, beam) int32, the clusters that the
      search passes on, ascending, -1 for none.

    `about.json` says which data set they are of, and how texts were cut into chunks. Embeddings are in memory at
    once: 4 N D bytes.

    Returns:
        Lines that say what was written.

    Raises:
        SettingError: the folder is not empty.
        DataError: the labels are not those of the model.
    """
    check_labels(model, data)
    sides = {"train": data.train} | ({} if data.test is None else {"test": data.test})
    said = []
    with atomic_folder(new_folder(folder)) as new:
        for name, split in sides.items():
            arrays, top = _side(model, data, split, min(k, data.n_labels), batch_size, progress)
            if arrays:
                with open(new / f"{name}.npz", "wb") as file:
                    np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes the arrays for a flag
                shapes = ", ".join(f"{key} {value.shape}" for key, value in arrays.items())
                said.append(f"{name}.npz: {shapes}")
            matrix = as_csr(top, data.n_labels)
            sp.save_npz(new / f"{name}_scores.npz", matrix)
            said.append(f"{name}_scores.npz: {matrix.shape[0]:,} × {matrix.shape[1]:,}, {matrix.nnz:,} scores")
        about = {"data": data.name, "labels": data.n_labels, "k": k, "score_type": model.score_type}
        write_json(new / "about.json", {**about, **described(model)})
    return said


def as_csr(top: TopK, n_labels: int) -> sp.csr_matrix:
    """A ranking as a matrix (N, L) float32 whose stored entries are its labels, also where a score is 0."""
    ids, scores = checked_arrays(top)
    there = ids >= 0
    values = scores[there].astype(np.float32)
    values[values == 0] = np.finfo(np.float32).smallest_subnormal
    indptr = np.concatenate([[0], np.cumsum(there.sum(1))])
    matrix = sp.csr_matrix((values, ids[there], indptr), shape=(len(ids), n_labels))
    matrix.sort_indices()
    return matrix


def _side(
    model: Classifier, data: Corpus, split: Split, k: int, batch_size: int, progress: bool
) -> tuple[dict[str, np.ndarray], TopK]:
    inputs = model_inputs(split, data, model.n_features)
    shown: dict[str, Any] = {"batch_size": batch_size, "progress": f"ranking {data.name}" * progress}
    top = model.topk(inputs, k, exclude=split.filter, **shown)
    if not isinstance(model, NeuralClassifier) or split.texts is None:
        return {}, top
    cascades = having(model.head, CascadeHead)
    levels = CascadeLevels(cascades[0]) if cascades and model.head is cascades[0] else None
    embeddings: np.ndarray | None = None
    kept: list[np.ndarray] = []
    for rows, views in views_of(model, split.texts, batch_size, f"encoding {data.name}" * progress):
        vectors = _scored_from(model, views).cpu().numpy()
        if embeddings is None:
            embeddings = np.empty((len(split), vectors.shape[1]), np.float32)
            beams = levels.head.beams if levels else ()
            kept = [
                np.full((len(split), min(b, s)), -1, np.int32) for b, s in zip(beams, _sizes(levels), strict=False)
            ]
        embeddings[rows] = vectors
        for i, into in enumerate(kept):
            assert levels is not None
            ids = levels.kept(views, i).cpu().numpy()
            into[rows] = ids[:, : into.shape[1]]
    arrays = {} if embeddings is None else {"embeddings": embeddings}
    return {**arrays, **{f"level{i}": array for i, array in enumerate(kept)}}, top


def _sizes(levels: CascadeLevels | None) -> tuple[int, ...]:
    return levels.head.sizes if levels else ()


def _scored_from(model: NeuralClassifier, views: Any) -> Any:
    """The last view, or what a projection makes of it."""
    from megalabel.heads.wrappers.projection import WithProjection

    head = model.head
    if isinstance(head, WithProjection):
        import torch

        with torch.no_grad():
            return head.projected(views)[:, -1]
    return views[:, -1]
