"""Reads XR-Linear models of PECOS: per level the weights W.npz and the parents C.npz, also of `text2text`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, get_args

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.importers.labels import check_count
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.kernels.linear.post_processor import PostProcessor
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.models.linear import LinearClassifier
from megalabel.storage.reading import parse_json, read_bytes

RANKER, ENSEMBLE, ITEMS = "ranker", "xlinear_ensemble", "output_items.json"


def is_pecos(folder: Path) -> bool:
    """Whether a folder holds such a model."""
    return (folder / RANKER).is_dir() or (folder / ENSEMBLE).is_dir()


def read_pecos(folder: Path, names: Texts | None = None) -> LinearClassifier:
    """The model of a folder, over rows of features, with the beams and the post-processor that are stored in it.

    Rows are normalized to length 1, as the vectorizer of PECOS does; for such rows, scores are those of PECOS.

    Args:
        folder: that of an `XLinearModel`, or of a model of `text2text`.
        names: the L label names; by default the output items of `text2text`, or the ids.

    Raises:
        KeyError, TypeError, ValueError, OSError, DataError, SettingError: the folder is damaged, or no such model.
    """
    folders = [folder / RANKER]
    if not folders[0].is_dir():
        count = int(_parameters(folder / ENSEMBLE / "config.json")["nr_ensembles"])
        folders = [folder / ENSEMBLE / str(i) / RANKER for i in range(count)]
    found = [_tree(ranker) for ranker in folders]
    if names is None and (folder / ITEMS).is_file():
        names = Texts.from_strings(str(item) for item in parse_json(read_bytes(folder / ITEMS)))
    trees = [tree for tree, _ in found]
    names = Texts.numbers(len(trees[0].order)) if names is None else names
    check_count(names, len(trees[0].order))
    model = LinearClassifier(BagOfWords(trees[0].n_features), trees, names)
    model.deep = max(depth for _, depth in found) if len(found) > 1 else 0  # labels of each that enter the mean
    return model


def _tree(ranker: Path) -> tuple[SparseBeam, int]:
    """A tree, and the number of labels that it is asked for by default."""
    depth = int(_parameters(ranker / "param.json")["depth"])
    order, levels, beams, posts = np.zeros(1, np.int64), [], [], []
    for i in range(depth):
        level = ranker / f"{i}.model"
        parameters = _parameters(level / "param.json")
        weights, parents = _matrix(level / "W.npz"), _parents(_matrix(level / "C.npz"), len(order))
        position = np.empty(len(order), np.int64)
        position[order] = np.arange(len(order))
        order = np.argsort(position[parents], kind="stable")  # siblings follow each other
        offsets = np.append(0, np.cumsum(np.bincount(position[parents], minlength=len(position))))
        levels.append(_chunks(weights, order, offsets, float(parameters["bias"]), int(parameters["nr_features"])))
        beams.append(int(parameters["pred_kwargs"]["only_topk"]))
        posts.append(parameters["pred_kwargs"]["post_processor"])
    if len(set(posts)) != 1 or posts[0] not in get_args(PostProcessor):
        raise ValueError(f"the post-processors {', '.join(map(str, posts)) or 'of no level'}")
    return SparseBeam(levels, order, beams[:-1], posts[0]), beams[-1]


def _chunks(
    weights: sp.csc_matrix, order: np.ndarray, offsets: np.ndarray, bias: float, n_features: int
) -> Chunks:
    """A level from weights (V + 1, C), or (V, C) without a bias."""
    if weights.shape != (n_features + (bias > 0), len(order)):
        raise ValueError(f"weights {weights.shape} of {n_features} features and {len(order)} nodes")
    rows = weights.T.tocsr()[order]
    if bias <= 0:
        rows = sp.hstack([rows, sp.csr_matrix((len(order), 1))]).tocsr()
    return Chunks.from_weights(rows.astype(np.float32), offsets, bias=max(bias, 0.0))


def _parents(clusters: sp.csc_matrix, n_parents: int) -> np.ndarray:
    """The parent of each node, from C of (nodes, parents)."""
    rows = clusters.tocsr()
    if rows.shape[1] != n_parents or (np.diff(rows.indptr) != 1).any():
        raise ValueError(f"clusters {rows.shape} in which a node has no parent, or several")
    return np.asarray(rows.indices, np.int64)


def _matrix(path: Path) -> sp.csc_matrix:
    content = read_bytes(path, path.stat().st_size)  # numpy leaves a damaged file open
    return sp.csc_matrix(sp.load_npz(io.BytesIO(content)))


def _parameters(path: Path) -> Any:
    return parse_json(read_bytes(path))
