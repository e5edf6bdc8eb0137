"""The shortlist of a level whose nodes several processes own: each goes on with its own among the best of all.

The texts of a batch are divided among the processes (`own_texts.shares`). Every process sends to the owner of a
text the logits of its own k best nodes and which of them are positives, and the number of its other positives. The
owner ranks the nodes of all processes, and answers each with the number of its nodes that a single process would
keep besides the positives (`kernels/candidates/shortlist.py`): they are the first of them in its own order.

With n columns, which are at most k and at most the nodes that one process owns, a text takes 5 n + 4 bytes,
without positives 4 n, and 4 for the answer. A process sends them for the B - b texts of others, and W - 1 answers
for each of its b.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from megalabel.distributed.collectives import Traffic, swap_rows
from megalabel.distributed.own_texts import shares
from megalabel.distributed.world import World
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.candidates.shortlist import Shortlist, shortlist
from megalabel.types import Positives


@torch.no_grad()
def merged_shortlist(
    logits: Tensor,
    candidates: Candidates,
    k: int,
    children: Tensor,
    columns: int,
    world: World,
    positives: Positives | None = None,
    traffic: Traffic | None = None,
) -> Shortlist:
    """Keeps this process's nodes among the k best of all processes, and all of its positives.

    Ties go to the lower rank, and within a rank to the lower node: the order of the nodes of the whole level.

    Args:
        logits: (C,) scores of this process's candidates of B texts, the same texts in every process.
        candidates: the scored candidates, counted from this process's first node.
        k: number of nodes of all processes that are kept per text, at least 1.
        children: (n + 1,) int64: the children of this process's nodes; n may be 0.
        columns: the largest number of nodes of the level that a process owns, the same number in all of them.
        world: the processes.
        positives: pairs of text and own node that are kept whatever their score; None in prediction.
        traffic: counts the bytes; None to count none.

    Returns:
        The kept nodes of this process; `found` and `wanted` count the positives of its own texts among the nodes
        of all processes.
    """
    if world.size == 1:
        return shortlist(logits, candidates, k, children, positives)
    columns, texts = min(k, columns), candidates.batch
    own = _own_best(logits, candidates, columns, children)
    rows = own.texts_of_cells()
    places = torch.arange(len(rows), device=logits.device) - own.texts[rows]
    message = Message.empty(texts, columns, logits.device)
    message.scores[rows, places] = logits[own.cells].float()
    right = None if positives is None else cells_of(candidates, positives)
    if right is not None:
        hit = torch.isin(own.cells, right)
        message.hits[rows, places] = hit
        of_right = torch.searchsorted(candidates.text_cells(), right, right=True) - 1
        message.others[:, 0] = torch.bincount(of_right, minlength=texts)
        message.others[:, 0] -= torch.bincount(rows[hit], minlength=texts)
    sizes = shares(texts, world.size)
    allowed, found, wanted = _allowed(message.to_owners(sizes, right is not None, world, traffic), k)
    answers = [sizes[world.rank]] * world.size
    allowed = swap_rows(allowed.T.reshape(-1, 1), answers, sizes, world, traffic)
    cells = own.cells[_first(message, allowed)[rows, places]]
    if right is not None:
        cells = torch.unique(torch.cat([cells, right]))
    nodes = rows_of(candidates, cells)
    blocks = torch.searchsorted(cells, candidates.text_cells())
    return Shortlist(Candidates.of_blocks(children[nodes], children[nodes + 1], blocks), cells, found, wanted)


class _Best(NamedTuple):
    """The cells (m,) of the best nodes of each text, ascending, and where those of each text begin, (B + 1,)."""

    cells: Tensor
    texts: Tensor

    def texts_of_cells(self) -> Tensor:
        """(m,) int64: the text of each cell."""
        texts = torch.arange(len(self.texts) - 1, device=self.cells.device)
        return texts.repeat_interleave(self.texts.diff(), output_size=len(self.cells))


def _own_best(logits: Tensor, candidates: Candidates, k: int, children: Tensor) -> _Best:
    if not len(candidates):  # a process without labels, or texts without candidates here
        return _Best(candidates.starts, candidates.texts)
    short = shortlist(logits, candidates, k, children)
    return _Best(short.cells, short.candidates.texts)


class Message(NamedTuple):
    """What a process says about its best nodes of each text; or what all of them say, side by side.

    scores: (B, n) float32, -inf where a text has fewer.
    hits: (B, n) bool, which of them are positives.
    others: (B, 1) int32, the number of further positives.
    """

    scores: Tensor
    hits: Tensor
    others: Tensor

    @classmethod
    def empty(cls, texts: int, columns: int, device: torch.device) -> Message:
        """A message about no nodes."""
        return cls(
            torch.full((texts, columns), -torch.inf, device=device),
            torch.zeros(texts, columns, dtype=torch.bool, device=device),
            torch.zeros(texts, 1, dtype=torch.int32, device=device),
        )

    def to_owners(self, sizes: list[int], with_positives: bool, world: World, traffic: Traffic | None) -> Message:
        """The messages of all processes about the b texts of this one: (b, W n), (b, W n) and (b, W)."""
        columns, own = self.scores.shape[1], sizes[world.rank]
        parts = self if with_positives else self[:1]
        sent = torch.cat([part.view(torch.uint8) for part in parts], dim=1)
        found = swap_rows(sent, sizes, [own] * world.size, world, traffic).view(world.size, own, sent.shape[1])
        widths = [4 * columns, columns, 4][: len(parts)]
        # Copies, since the bytes of tensors without texts could not be viewed as floats.
        whole = torch.contiguous_format
        beside = [part.transpose(0, 1).clone(memory_format=whole) for part in found.split(widths, dim=2)]
        scores = beside[0].view(torch.float32).flatten(1)
        if not with_positives:
            return Message(
                scores, torch.zeros_like(scores, dtype=torch.bool), self.others.new_zeros(own, world.size)
            )
        return Message(scores, beside[1].view(torch.bool).flatten(1), beside[2].view(torch.int32).flatten(1))


def _allowed(best: Message, k: int) -> tuple[Tensor, int, int]:
    """How many nodes of each process are kept besides the positives, (b, W) int32, and the counts of positives."""
    order = (best.scores + 0.0).sort(dim=1, descending=True, stable=True).indices  # adding 0 makes −0 equal 0
    places = torch.arange(best.scores.shape[1], device=order.device)
    hits = best.hits.gather(1, order)
    n_positive = best.hits.sum(1) + best.others.sum(1)
    keep = ~hits & (places - hits.long().cumsum(1) < (k - n_positive)[:, None])
    kept = torch.empty_like(keep).scatter_(1, order, keep)
    size = best.others.shape[1]
    by_process = kept.view(len(kept), size, kept.shape[1] // size).sum(2, dtype=torch.int32)
    return by_process, int((hits & (places < k)).sum()), int(n_positive.sum())


def _first(message: Message, allowed: Tensor) -> Tensor:
    """Which columns are the first `allowed` (B, 1) of those that are no positives, in descending order: (B, n)."""
    order = (message.scores + 0.0).sort(dim=1, descending=True, stable=True).indices
    others = ~message.hits.gather(1, order)
    keep = others & (others.long().cumsum(1) <= allowed)
    return torch.empty_like(keep).scatter_(1, order, keep)


def rows_of(candidates: Candidates, cells: Tensor) -> Tensor:
    """The row of each given cell, (m,) int64, without a tensor of all cells."""
    block = torch.searchsorted(candidates.cells, cells, right=True) - 1
    return candidates.starts[block] + cells - candidates.cells[block]


def cells_of(candidates: Candidates, pairs: Positives) -> Tensor:
    """The cells of pairs of text and row, ascending; pairs that are not candidates are left out."""
    if not len(candidates) or not len(pairs):
        return pairs.rows[:0]
    texts_of_blocks = candidates.texts_of_blocks()
    blocks = texts_of_blocks * candidates.n_rows + candidates.starts
    known = pairs.labels < candidates.n_rows
    texts, rows = pairs.rows[known], pairs.labels[known]
    block = (torch.searchsorted(blocks, texts * candidates.n_rows + rows, right=True) - 1).clamp(min=0)
    inside = (
        (texts_of_blocks[block] == texts) & (candidates.starts[block] <= rows) & (rows < candidates.ends[block])
    )
    block = block[inside]
    return (candidates.cells[block] + rows[inside] - candidates.starts[block]).sort().values
