"""A label graph kept in a file for the next tree, as walks over millions of labels take minutes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, FormatError, SettingError
from megalabel.kernels.sparse.csr import checked_csr
from megalabel.storage.files import write_bytes_atomically

SUFFIX = ".npz"


def check_name(file: str | Path) -> None:
    """SettingError for a name that does not end in .npz."""
    if Path(file).suffix != SUFFIX:
        raise SettingError(f"{file}", wanted=f"a name that ends in {SUFFIX}", where="graph_file")


def save_graph(file: str | Path, graph: sp.csr_matrix, labels: sp.csr_matrix, walks: Mapping[str, Any]) -> None:
    """Writes a graph (L, L), with a hash of the labels (N, L) and the settings of its walks."""
    about = json.dumps({"labels_sha256": labels_sha256(labels), "walks": dict(walks)})
    with write_bytes_atomically(file) as raw:
        np.savez(
            raw, data=graph.data, indices=graph.indices, indptr=graph.indptr, shape=np.asarray(graph.shape),
            about=np.asarray(about),
        )  # fmt: skip


def load_graph(file: str | Path, labels: sp.csr_matrix, walks: Mapping[str, Any]) -> sp.csr_matrix:
    """Reads a graph that `save_graph` wrote for these labels and settings, (L, L) float32 CSR.

    Raises:
        FormatError: the file is damaged or something else.
        SettingError: it is a graph of other labels, or of other settings.
    """
    try:
        with open(file, "rb") as raw, np.load(raw, allow_pickle=False) as found:
            about = json.loads(str(found["about"]))
            parts = found["data"].astype(np.float32), found["indices"], found["indptr"]
            graph = sp.csr_matrix(parts, shape=tuple(found["shape"].tolist()))
        graph = checked_csr(graph, "graph")
        before, fingerprint = dict(about["walks"]), str(about["labels_sha256"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, DataError) as error:
        raise FormatError(
            f"cannot be read as a label graph ({error})",
            wanted="a file that --graph-file wrote",
            next_step="delete it, and it will be made again",
            where=file,
        ) from error
    if graph.shape != (labels.shape[1],) * 2 or fingerprint != labels_sha256(labels):
        raise _other(file, "was walked on other texts and labels")
    differing = [
        f"{name} = {before.get(name)} and not {value}"
        for name, value in walks.items()
        if before.get(name) != value
    ]
    if differing:
        raise _other(file, f"has {', '.join(differing)}")
    return graph


def labels_sha256(labels: sp.csr_matrix) -> str:
    """SHA-256 of which labels each text has, in hexadecimal."""
    total = hashlib.sha256(np.asarray(labels.shape, dtype="<i8").tobytes())
    for part in (labels.indptr, labels.indices):
        total.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    return total.hexdigest()


def _other(file: str | Path, found: str) -> SettingError:
    return SettingError(
        f"the label graph in {file} {found}",
        wanted="the graph of these labels and settings",
        next_step="give another --graph-file, which will be written",
        where="graph_file",
    )
