"""The index `hnsw`: a graph of neighbors over label vectors, built and searched by faiss."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.errors import RESTORE_FOLDER, FormatError, MissingExtra
from megalabel.index.base import LabelIndex, LabelTable

SPARE = 32  # candidates beyond k that are scored from the weights of the head
LINKS, EFFORT = 32, 80  # neighbors per label, and candidates for them when the graph is built
FILE = "hnsw.faiss"
_WIDTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


class HnswIndex(LabelIndex):
    """Approximate: a walk from neighbor to neighbor (Malkov and Yashunin, 2018), as implemented by faiss.

    Inner products with label vectors of different lengths become distances between points (Bachrach et al., 2014):
    the bias and √(M² − ‖w‖² − bias²) are appended to each label vector w, where M is the largest length, and 1 and
    0 to each text. The `width` is faiss's efSearch.
    """

    kind = "hnsw"

    def __init__(self, graph: Any, shape: tuple[int, int], depth: int, width: int = _WIDTHS[4]) -> None:
        super().__init__(shape, depth)
        self.graph, self.width = graph, width

    @classmethod
    def build(cls, table: LabelTable, depth: int) -> HnswIndex:
        """Adds all labels to a new graph; MissingExtra without faiss."""
        faiss = _faiss()
        n, dim = table.weight.shape
        bias = table.biases()
        points = np.zeros((n, dim + 2), np.float32)
        for ids, rows in table.blocks():
            points[ids, :dim] = rows
        if bias is not None:
            points[:, dim] = bias
        squares = np.einsum("ij,ij->i", points, points)
        points[:, dim + 1] = np.sqrt(np.maximum(squares.max() - squares, 0))
        graph = faiss.IndexHNSWFlat(dim + 2, LINKS)
        graph.hnsw.efConstruction = EFFORT
        graph.add(points)
        return cls(graph, (n, dim), depth)

    def candidates(self, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The labels where the walk ends."""
        texts = np.zeros((len(x), self.shape[1] + 2), np.float32)
        texts[:, : self.shape[1]], texts[:, self.shape[1]] = x, 1
        room = min(k + SPARE, self.shape[0])
        options = _faiss().SearchParametersHNSW(efSearch=max(self.width, room))
        ids: np.ndarray = self.graph.search(texts, room, params=options)[1]
        return ids.astype(np.int64), None

    def widths(self) -> list[int]:
        """Values of efSearch."""
        return list(_WIDTHS)

    def with_width(self, width: int) -> HnswIndex:
        """The same graph with another efSearch."""
        other = copy.copy(self)
        other.width = width
        return other

    def save_files(self, folder: Path) -> dict[str, Any]:
        """See `LabelIndex.save_files`."""
        _faiss().write_index(self.graph, str(folder / FILE))
        return {"width": self.width}

    @classmethod
    def load_files(cls, folder: Path, facts: dict[str, Any], shape: tuple[int, int], depth: int) -> HnswIndex:
        """See `LabelIndex.load_files`; faiss reads the graph into memory."""
        graph = _faiss().read_index(str(folder / FILE))
        if (graph.ntotal, graph.d) != (shape[0], shape[1] + 2):
            raise FormatError(
                f"a graph of {graph.ntotal} points of {graph.d} numbers",
                wanted=f"{shape[0]} of {shape[1] + 2}",
                next_step=RESTORE_FOLDER,
                where=folder / FILE,
            )
        return cls(graph, shape, depth, int(facts["width"]))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra(
            "the index hnsw needs faiss",
            wanted="the package faiss-cpu",
            next_step="run pip install 'megalabel[index]', or choose the index int8 or tree",
        ) from error
    return faiss
