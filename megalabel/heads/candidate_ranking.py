"""Ranks the candidates of each text, whose scores form one flat vector."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from megalabel.kernels.candidates.beam import PathScore
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.sparse.merge_topk import best_of
from megalabel.types import Positives, TopK


class Paths(NamedTuple):
    """How the scores of nodes combine on the way down a tree; the definitions are in `kernels/candidates/beam.py`.

    path_score: what the probability of a label is.
    last: the level of the labels.
    """

    path_score: PathScore
    last: int

    def joined(self, level: int) -> bool:
        """Whether nodes of a level are ranked by products of probabilities, and not by their own logits."""
        if self.path_score == "label*parent":
            return level == self.last
        return level > 0 and self.path_score in ("path", "decayed")

    def scores(self, level: int, logits: Tensor, candidates: Candidates, above: Tensor) -> tuple[Tensor, Tensor]:
        """By what candidates are ranked, (C,) float32, and what they pass down, (C,) float64.

        above: (n,) float64, what the parent of each block has passed down.
        """
        alone = logsigmoid(logits.double())
        lengths = candidates.ends - candidates.starts
        joint = alone + above.repeat_interleave(lengths, output_size=candidates.n_cells)
        return (joint.float(), joint) if self.joined(level) else (logits, alone)

    def decayed(self, passed: Tensor) -> Tensor:
        """What the children of nodes start from."""
        return passed * 0.5 if self.path_score == "decayed" else passed

    def probabilities(self, ranked: TopK) -> Tensor:
        """The probabilities (B, k) float32 of labels whose scores are those that they are ranked by."""
        logs = ranked.scores.double()
        logs = logs if self.joined(self.last) else logsigmoid(logs)
        return torch.where(ranked.ids < 0, -torch.inf, logs.exp().float())


def best_candidates(
    keys: Tensor, candidates: Candidates, order: Tensor, k: int, exclude: Positives | None = None
) -> TopK:
    """The k best candidates of each text, ties to the lower label.

    Args:
        keys: (C,), larger for better candidates.
        candidates: of B texts.
        order: (L,) int64, the label of each row.
        k: labels per text.
        exclude: pairs of text and label that are left out.

    Returns:
        Labels and keys (B, n), where n is k or, if that is less, the largest number of candidates of a text; -1
        and -inf fill short rows.
    """
    texts, ids = candidates.texts_of_cells(), order[candidates.rows_of_cells()]
    if exclude is not None and len(exclude):
        n_labels = int(max(ids.max(), exclude.labels.max())) + 1 if len(ids) else 1
        hidden = torch.isin(texts * n_labels + ids, exclude.rows * n_labels + exclude.labels)
        keys, ids = keys.masked_fill(hidden, -torch.inf), ids.masked_fill(hidden, -1)
    cells = candidates.text_cells()
    columns = torch.arange(len(texts), device=ids.device) - cells[texts]
    wide = int(cells.diff().max()) if candidates.batch else 0
    table_ids = ids.new_full((candidates.batch, wide), -1)
    table_keys = keys.new_full((candidates.batch, wide), -torch.inf)
    table_ids[texts, columns], table_keys[texts, columns] = ids, keys
    return best_of(table_ids, table_keys, k)
