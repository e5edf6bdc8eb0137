"""A cascade as a graph: every level is scored whole, and nodes that the beams would not reach are left out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from megalabel.heads.cascade import CascadeHead
from megalabel.onnx.ranking import Ranked, best, columns, merged, pieces, rows_of


class CascadeGraph(nn.Module):
    """The search of `kernels.candidates.beam`, whose formulas it computes for all nodes in float32.

    Labels are stored in the order of their ids. A node that is not reached has the key -inf, and a label without
    score is -1, as in the library.
    """

    def __init__(self, head: CascadeHead, k: int, chunk: int) -> None:
        super().__init__()
        self.k, self.chunk, self.beams, self.path_score = k, chunk, head.beams, head.path_score
        self.n_views, self.sizes = head.n_views, head.sizes
        self.cut = any(beam < n for beam, n in zip(head.beams, head.sizes, strict=False))
        *clusters, (labels, bias) = [(rows_of(table), bias.detach()) for table, bias in head.tables()]
        self.levels = nn.ParameterList(nn.Parameter(w.t().contiguous(), requires_grad=False) for w, _ in clusters)
        self.level_biases = nn.ParameterList(nn.Parameter(b.clone(), requires_grad=False) for _, b in clusters)
        rows = head.get_buffer("label_to_row")
        self.tables, self.biases = columns(labels[rows], chunk), pieces(bias[rows], chunk)
        for i, offsets in enumerate(head.offsets):
            parents = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
            if i < len(head.offsets) - 1:
                self.register_buffer(f"parents_{i + 1}", parents)
        for i, part in enumerate(parents[rows].split(chunk)):
            self.register_buffer(f"label_parents_{i}", part.clone())

    def forward(self, views: Tensor) -> Ranked:
        """Maps views (n, V, D) to probabilities and labels (n, k)."""
        above = self._clusters(views)
        x = views[:, self.n_views - 1]
        joined = self.path_score != "label"
        parts = []
        assert self.biases is not None
        for i, (table, bias) in enumerate(zip(self.tables, self.biases, strict=True)):
            parents = above.index_select(1, self.get_buffer(f"label_parents_{i}"))
            parts.append(best(self._keys(x @ table + bias, parents, joined), self.k, i * self.chunk))
        keys, labels = merged(parts, self.k)
        scores = keys.exp() if joined else keys.sigmoid()
        if self.cut:
            missing = keys == -torch.inf
            scores, labels = scores.masked_fill(missing, -torch.inf), labels.masked_fill(missing, -1)
        return scores, labels

    def _clusters(self, views: Tensor) -> Tensor:
        """What clusters of the last level hand down to their labels: (n, clusters), -inf for those left out."""
        joined = self.path_score in ("path", "decayed")
        above: Tensor | None = None
        for i, (table, bias) in enumerate(zip(self.levels, self.level_biases, strict=True)):
            z = views[:, min(i, self.n_views - 1)] @ table + bias
            keys = z if above is None else self._keys(z, self._parents_of(above, i), joined)
            down = keys if joined and i else logsigmoid(z)
            if self.path_score == "decayed":
                down = down * 0.5
            if self.beams[i] < self.sizes[i]:
                kept = torch.zeros_like(keys, dtype=torch.bool)
                kept = kept.scatter(1, keys.topk(self.beams[i], dim=1).indices, True)
                above = down.masked_fill(~kept | (keys == -torch.inf), -torch.inf)
            else:
                above = down.masked_fill(keys == -torch.inf, -torch.inf)
        assert above is not None
        return above

    def _parents_of(self, above: Tensor, level: int) -> Tensor:
        return above.index_select(1, self.get_buffer(f"parents_{level}"))

    def _keys(self, z: Tensor, parents: Tensor, joined: bool) -> Tensor:
        """What nodes with the logits z are ranked by."""
        if joined:
            return logsigmoid(z) + parents
        return z.masked_fill(parents == -torch.inf, -torch.inf) if self.cut else z
