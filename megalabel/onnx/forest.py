"""Label trees with sparse weights as a graph: the search of `kernels.linear.sparse_beam`, all trees at once.

Only children of nodes in the beams are scored, so that a text takes the memory of its beams times the children of
a node, and never that of all labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from megalabel.kernels.linear._chunk_checks import RANGE_BITS, entry_starts
from megalabel.kernels.linear.post_processor import PostProcessor
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.onnx.ranking import Ranked
from megalabel.onnx.searching import positions_between, ragged
from megalabel.onnx.words import Features


class ForestGraph(nn.Module):
    """Searches trees that have the same depth, beams and post-processor.

    Args:
        trees: the trees.
        k: labels of each tree; fewer where the beams reach fewer.
    """

    def __init__(self, trees: Sequence[SparseBeam], k: int) -> None:
        super().__init__()
        self.n_trees, self.post_processor = len(trees), trees[0].post_processor
        self.levels = nn.ModuleList(
            LevelGraph(levels) for levels in zip(*(tree.levels for tree in trees), strict=True)
        )
        self.register_buffer("order", torch.from_numpy(np.concatenate([tree.order for tree in trees])))
        self.beams = (*trees[0].beams, k)

    def forward(self, found: Features, n: int) -> Ranked:
        """Maps features of n texts to probabilities and labels, (n, trees · k) in any order; 0 and -1 for none."""
        # Each tree begins with its only chunk of the first level, the chunks of all trees being numbered together.
        nodes = torch.arange(self.n_trees).expand(n, self.n_trees)
        keys = torch.zeros(n, self.n_trees)
        for level, beam in zip(self.levels, self.beams, strict=True):
            children, z = level(found, nodes)
            keys = keys.unsqueeze(2) + _log_score(z, self.post_processor)
            keys, children = (x.reshape(n, self.n_trees, -1) for x in (keys, children))
            if beam < keys.shape[2]:
                kept = keys.topk(beam, dim=2).indices.sort(dim=2).values  # ties go to the lower node, as there
                keys, children = keys.gather(2, kept), children.gather(2, kept)
            nodes, keys = children.flatten(1), keys.flatten(1)
        labels = self.get_buffer("order")[nodes]
        missing = keys == -torch.inf
        return keys.exp().masked_fill(missing, 0.0), labels.masked_fill(missing, -1)


class LevelGraph(nn.Module):
    """One level of several trees, whose chunks and nodes are numbered one after the other."""

    def __init__(self, levels: Sequence[Chunks]) -> None:
        super().__init__()
        rows = [_features(level) for level in levels]
        entries = [
            entry_starts(level.entries, level.lengths, np.arange(len(level.features) + 1)) for level in levels
        ]
        self.width = max(level.width for level in levels)
        self.most = max(int(np.diff(level.starts[:: level.n_ranges]).max(initial=0)) for level in levels)
        self._keep("offsets", _joined([level.offsets for level in levels]))
        self._keep("starts", _joined([level.starts[:: level.n_ranges] for level in levels]))
        self._keep("features", np.concatenate([*rows, [0]]).astype(np.int32))  # one more, which no chunk has
        self._keep("entries", _joined(entries))
        self._keep("child", np.concatenate([level.children for level in levels]))
        self._keep("bias", np.concatenate([level.bias for level in levels]))
        values = [torch.from_numpy(np.array(level.values)) for level in levels]
        if levels[0].values.dtype == np.uint16:
            values = [part.view(torch.bfloat16) for part in values]
        self.register_buffer("values", torch.cat(values))
        self.scaled = levels[0].scales is not None
        if self.scaled:
            self._keep("scales", np.concatenate([level.scales for level in levels]))

    def _keep(self, name: str, array: np.ndarray) -> None:
        if array.dtype == np.int64 and array.max(initial=0) < 1 << 31:
            array = array.astype(np.int32)
        if array.dtype == np.uint16:  # PyTorch cannot read single ones of these
            array = array.astype(np.int32)
        self.register_buffer(name, torch.from_numpy(np.array(array)))

    def _read(self, name: str, at: Tensor) -> Tensor:
        return self.get_buffer(name).index_select(0, at.flatten()).long().view(at.shape)

    def forward(self, found: Features, parents: Tensor) -> tuple[Tensor, Tensor]:
        """The children of some nodes and their scores.

        Args:
            found: the features of n texts.
            parents: (n, S) int64.

        Returns:
            Nodes and scores, (n, S, width); -inf beyond the last child of a parent.
        """
        n, s = parents.shape
        places = torch.arange(self.width)
        first, last = self._read("offsets", parents), self._read("offsets", parents + 1)
        exists = places < (last - first).unsqueeze(2)
        nodes = torch.where(exists, first.unsqueeze(2) + places, 0)
        z = self._products(found, parents).view(n, s, self.width)
        bias = self.get_buffer("bias").index_select(0, nodes.flatten()).view(nodes.shape)
        if self.scaled:
            z = z * self.get_buffer("scales").index_select(0, nodes.flatten()).view(nodes.shape)
        return nodes, (z + bias).masked_fill(~exists, -torch.inf)

    def _products(self, found: Features, parents: Tensor) -> Tensor:
        """The products of features and stored weights of the children of each parent, (n · S · width,)."""
        n, s = parents.shape
        chunks = parents.index_select(0, found.texts)  # (M, S)
        first, last = self._read("starts", chunks).flatten(), self._read("starts", chunks + 1).flatten()
        wanted = found.features.unsqueeze(1).expand(chunks.shape).flatten()
        rows = positions_between(self.get_buffer("features"), wanted, first, last, self.most)
        known = (rows < last) & (self.get_buffer("features").index_select(0, rows) == wanted)
        begin = self._read("entries", torch.where(known, rows, 0))
        end = self._read("entries", torch.where(known, rows + 1, 0))
        owners, places = ragged(torch.where(known, end - begin, 0))
        cells = begin.index_select(0, owners) + places
        texts, inputs = (of.index_select(0, owners // s) for of in (found.texts, found.values))
        products = self.get_buffer("values").index_select(0, cells).float() * inputs
        nodes = (texts * s + owners % s) * self.width + self._read("child", cells)
        return torch.zeros(n * s * self.width).scatter_add(0, nodes, products)


def _log_score(z: Tensor, post_processor: PostProcessor) -> Tensor:
    """log s(z), of `kernels.linear.sparse_beam`."""
    if post_processor == "sigmoid":
        return logsigmoid(z)
    return -((1 - z).clamp(min=0) ** (3 if post_processor == "l3-hinge" else 2))


def _features(level: Chunks) -> np.ndarray:
    """The feature of each row, (R,) int64."""
    ranges = np.arange(len(level.starts) - 1) % level.n_ranges << RANGE_BITS
    found: np.ndarray = level.features + np.repeat(ranges, np.diff(level.starts))
    return found


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Positions that begin with 0 and end with the number of what they divide, of several levels as of one."""
    begins = [0, *np.cumsum([part[-1] for part in parts])]
    tails = [part[1:].astype(np.int64) + begin for part, begin in zip(parts, begins, strict=False)]
    return np.concatenate([[0], *tails])
