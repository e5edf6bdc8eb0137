"""Reads models of Omikuji 0.5: `settings.json`, and a tree in CBOR per file `tree0.cbor`, `tree1.cbor`, …"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.importers.cbor import Cbor
from megalabel.importers.labels import check_count
from megalabel.importers.trees import Node, beam_of, reach
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.kernels.linear.post_processor import PostProcessor
from megalabel.models.linear import LinearClassifier
from megalabel.storage.reading import parse_json, read_bytes

SETTINGS = "settings.json"
BEAM = 10  # the default of Omikuji's predictions
_POST: dict[str, PostProcessor] = {"Hinge": "l2-hinge", "Log": "sigmoid"}


def read_omikuji(folder: Path, names: Texts | None = None) -> LinearClassifier:
    """The model of a folder, over rows of features; its scores are those of Omikuji's `predict` for a beam of 10.

    Args:
        folder: the folder.
        names: the L label names; by default the ids, up to the largest one in the trees.

    Raises:
        KeyError, TypeError, ValueError, OSError, DataError: the folder is damaged, or of another format.
    """
    settings = parse_json(read_bytes(folder / SETTINGS))
    n_features, post = int(settings["n_features"]), _POST[settings["classifier_loss_type"]]
    files = sorted(folder.glob("tree*.cbor"), key=lambda path: int(path.stem.removeprefix("tree")))
    if not files or [path.stem for path in files] != [f"tree{i}" for i in range(len(files))]:
        raise ValueError(f"the files {', '.join(path.name for path in files) or 'without trees'}")
    roots = [_tree(path, n_features + 1) for path in files]
    found = [_labels(root) for root in roots]
    n_labels = 1 + max(int(labels.max(initial=0)) for labels in found)
    if names is None:
        names = Texts.numbers(n_labels)
    check_count(names, n_labels, more=True)
    trees = [beam_of(root, len(names), BEAM, post) for root in roots]
    model = LinearClassifier(BagOfWords(n_features), trees, names)
    model.deep = max(reach(tree) for tree in trees)  # every label that a tree finds enters the mean
    return model


def _tree(path: Path, width: int) -> Node:
    return _node(Cbor(read_bytes(path, path.stat().st_size)).whole(), width)


def _node(value: dict[str, Any], width: int) -> Node:
    ((kind, content),) = value.items()
    weights = _weights(content["weights"], width)
    if kind == "Branch":
        children = [_node(child, width) for child in content["children"]]
        labels = np.empty(0, np.int64)
    elif kind == "Leaf":
        children, labels = [], np.asarray(content["labels"])
    else:
        raise ValueError(f"a node {kind!r:.40}")
    if weights.shape[0] != max(len(children), len(labels)) or not weights.shape[0]:
        raise ValueError(f"weights of {weights.shape[0]} children of {max(len(children), len(labels))}")
    return Node(weights, children, labels)


def _weights(value: dict[str, Any], width: int) -> sp.csr_matrix:
    """The weights of the C children of a node: (C, V + 1) CSR."""
    ((kind, content),) = value.items()
    if kind == "Dense":
        dense = content["data"].reshape([int(n) for n in content["dim"]])
        if dense.shape[0] != width:
            raise ValueError(f"weights of {dense.shape[0]} features of {width}")
        return sp.csr_matrix(dense.T)
    if kind != "Sparse" or content["outer_dim"] != width:
        raise ValueError(f"weights {kind!r:.40} of {content.get('outer_dim')} features of {width}")
    rows = np.repeat(np.asarray(content["outer_inds"]), np.diff(content["indptr"]))
    cells = content["data"], (content["inner_inds"], rows)
    return sp.csr_matrix(cells, shape=(int(content["inner_dim"]), width))


def _labels(node: Node) -> np.ndarray:
    parts = [_labels(child) for child in node.children]
    return np.concatenate([node.labels, *parts])
