"""The clusters of a level that each text keeps, whose children are the candidates of the next level.

    order of a text's nodes:  positives first, then descending logit, ties to the lower row
    kept:                     the first k, or all positives if there are more than k

This is the shortlist of CascadeXML (Kharbanda et al., NeurIPS 2022): the k largest of sigmoid(logit) + target, but
without ties from float32 rounding of sigmoid(20) to 1. Without positives, as in prediction, it keeps the k best
logits. The scores passed to the next level are those of `cells`, without the targets.

For float32 on a CPU numba runs (`_cpu/shortlist.py`, a radix selection per text). `plain_select`, with stable
sorts of all candidates, is the reference and runs in all other cases, including CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import Candidates, positives_by_text
from megalabel.kernels.core.checks import must_be_finite
from megalabel.kernels.core.dispatch import Operation
from megalabel.types import Positives

__all__ = ["Shortlist", "plain_select", "shortlist"]

_COMPILED = Operation(__package__, "shortlist")


@dataclass(frozen=True)
class Shortlist:
    """The result of a level for the next one.

    candidates: the children of the kept nodes, one block each, in ascending order of nodes.
    cells: (m,) int64, the position of each kept node in the level's flat scores (C,); block j belongs to cells[j].
    found, wanted: the number of positives among the k best by score alone, and the number of positives, whether
    candidates or not; found / wanted is the level's shortlist recall.
    """

    candidates: Candidates
    cells: Tensor
    found: int
    wanted: int


@torch.no_grad()
def shortlist(
    logits: Tensor,
    candidates: Candidates,
    k: int,
    children: Tensor,
    positives: Positives | None = None,
) -> Shortlist:
    """Keeps nodes of a level and returns their children.

    Args:
        logits: (C,) scores of the level's candidates.
        candidates: the scored candidates, whose rows are nodes of the level.
        k: number of nodes kept per text, at least 1. A text with fewer candidates keeps them all.
        children: (n + 1,) int64 on the same device: those of node j are rows children[j] to children[j + 1] - 1 of
            the next level.
        positives: pairs of text and node that are kept whatever their score; None in prediction.

    Raises:
        SettingError: arguments that do not match, or logits that are not finite.
        DataError: a positive pair outside (B, n).
    """
    _check(logits, candidates, k, children)
    if positives is None:
        none = torch.empty(0, dtype=torch.int64, device=logits.device)
        positives = Positives(none, none)
    offsets, rows = positives_by_text(positives, candidates.batch, len(children) - 1)
    flat = logits.detach().contiguous()
    fast = _COMPILED.for_table(flat)
    select = plain_select if fast is None else fast.select
    cells, nodes, texts, found = select(flat, candidates, k, offsets, rows)
    kept = Candidates.of_blocks(children[nodes], children[nodes + 1], texts)
    return Shortlist(kept, cells, int(found), len(rows))


def plain_select(
    logits: Tensor, candidates: Candidates, k: int, offsets: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    """cells (m,) and nodes (m,) of the kept nodes, ascending within each text; texts (B + 1,); found."""
    nodes, texts, n = candidates.rows_of_cells(), candidates.texts_of_cells(), candidates.n_rows
    n = max(n, int(rows.max()) + 1 if len(rows) else 0)
    owners = torch.arange(candidates.batch, device=rows.device)
    owners = owners.repeat_interleave(offsets.diff(), output_size=len(rows))
    positive = torch.isin(texts * n + nodes, owners * n + rows)
    falling = (logits + 0.0).sort(descending=True, stable=True).indices  # adding 0 makes −0 equal 0
    first = candidates.text_cells()[:-1]
    found = positive & (_ranks(falling, texts, first) < k)
    lifted = falling[positive[falling].to(torch.int8).sort(descending=True, stable=True).indices]
    n_positive = torch.zeros_like(first).index_add_(0, texts, positive.to(torch.int64))
    kept = _ranks(lifted, texts, first) < n_positive.clamp(min=k)[texts]
    of_text = torch.zeros_like(first).index_add_(0, texts, kept.to(torch.int64))
    cells = kept.nonzero()[:, 0]
    return cells, nodes[cells], torch.nn.functional.pad(of_text.cumsum(0), (1, 0)), int(found.sum())


def _ranks(order: Tensor, texts: Tensor, first: Tensor) -> Tensor:
    """(C,) int64: the rank of each cell among those of its text, in the order `order`."""
    order = order[texts[order].sort(stable=True).indices]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device) - first[texts[order]]
    return ranks


def _check(logits: Tensor, candidates: Candidates, k: int, children: Tensor) -> None:
    if k < 1:
        raise SettingError(f"k={k}", wanted="1 or more", next_step="keep at least one cluster", where="k")
    if logits.shape != (candidates.n_cells,) or not logits.is_floating_point():
        raise SettingError(
            f"logits {tuple(logits.shape)} {logits.dtype} for {candidates.n_cells} candidates",
            wanted="one logit per candidate",
            next_step="pass the logits that candidate_scores or candidate_bce returned for these candidates",
        )
    if children.dim() != 1 or children.dtype != torch.int64 or len(children) < max(2, candidates.n_rows + 1):
        raise SettingError(
            f"children {tuple(children.shape)} {children.dtype} for nodes up to {candidates.n_rows - 1}",
            wanted="int64 offsets (n + 1,) for a level of n nodes",
            next_step="pass the offsets of the level that was scored",
            where="children",
        )
    if {logits.device, children.device} != {candidates.device}:
        raise SettingError(
            f"logits on {logits.device}, children on {children.device}, candidates on {candidates.device}",
            wanted="all on one device",
            next_step="move them with .to(device)",
        )
    must_be_finite(logits, "the vector of logits")
