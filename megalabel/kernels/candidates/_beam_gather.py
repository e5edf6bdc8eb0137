"""Torch implementation of `candidates/beam.py` for devices without a compiled one; gathers rows of candidates."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from megalabel.kernels.candidates._beam_tables import BeamTables
from megalabel.kernels.candidates.candidate_scores import candidate_scores
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.rounding.narrow_table import NarrowTable

_CELLS = 1 << 21  # candidates at a time
_BYTES = 256 << 20  # gathered rows at a time


def gathered(
    views: Tensor, tables: BeamTables, k: int, path_score: str, excluded: Tensor | None
) -> tuple[Tensor, Tensor, bool]:
    """Labels (B, k), scores (B, k), and whether all logits were finite.

    excluded: text · L + label of the pairs to exclude, ascending.
    """
    labels = torch.full((len(views), k), -1, device=views.device)
    best = torch.full((len(views), k), -torch.inf, device=views.device)
    step = max(1, _CELLS // tables.widest)
    if tables.narrow:  # all rows that the texts reach are read at once
        step = max(1, min(step, _BYTES // (4 * views.shape[2] * tables.widest)))
    finite = True
    for at in range(0, len(views), step):
        part = slice(at, at + step)
        pairs = None if excluded is None else excluded - at * tables.n_labels
        finite &= _search(views[part], tables, path_score, pairs, labels[part], best[part])
    return labels, best, finite


def _search(
    views: Tensor, tables: BeamTables, path_score: str, excluded: Tensor | None, labels: Tensor, best: Tensor
) -> bool:
    weights, biases, offsets, order = tables.weights, tables.biases, tables.offsets, tables.order
    n, device, depth = len(views), views.device, len(offsets)
    texts = torch.arange(n, device=device)  # the text of each block; the next three are per block as well
    starts, ends = torch.zeros_like(texts), torch.full_like(texts, weights[0].shape[0])
    above = torch.zeros(n, dtype=torch.float64, device=device)
    for level in range(depth + 1):
        x = views[:, min(level, views.shape[1] - 1)].to(biases[level].dtype)
        weight = weights[level]
        sizes = ends - starts
        block = torch.repeat_interleave(sizes)
        rows = torch.arange(len(block), device=device) - (sizes.cumsum(0) - sizes - starts)[block]
        of = texts[block]
        if level == 0:
            top = weight.float() if isinstance(weight, NarrowTable) else weight
            z = torch.addmm(biases[0], x, top.t()).flatten().float()
        elif isinstance(weight, NarrowTable):
            z = _narrow_logits(x, weight, biases[level], of, rows)
        else:
            z = _logits(x, weight, biases[level], of, rows)
        if not bool(torch.isfinite(z).all()):
            return False
        alone = logsigmoid(z.double())
        joint = above[block] + alone
        joined = (path_score in ("path", "decayed") and level > 0) or (
            path_score == "label*parent" and level == depth
        )
        keys, down = (joint.float(), joint) if joined else (z, alone)
        if level < depth:
            chosen = (
                _first(of, keys, rows, tables.beams[level], n)[0].sort().values
            )  # blocks in the order of their rows
            texts, above = of[chosen], down[chosen] * (0.5 if path_score == "decayed" else 1)
            starts, ends = offsets[level][rows[chosen]], offsets[level][rows[chosen] + 1]
    ids = order[rows]
    if excluded is not None:
        pairs = of * len(order) + ids
        at = torch.searchsorted(excluded, pairs).clamp(max=len(excluded) - 1)
        shown = (excluded[at] != pairs).nonzero().flatten()
        of, ids, keys, down = of[shown], ids[shown], keys[shown], down[shown]
    chosen, places = _first(of, keys, ids, labels.shape[1], n)
    labels[of[chosen], places] = ids[chosen]
    best[of[chosen], places] = (down.float().double() if joined else down)[chosen].exp().float()
    return True


def _logits(x: Tensor, weight: Tensor, bias: Tensor, of: Tensor, rows: Tensor) -> Tensor:
    z = torch.empty(len(rows), device=x.device)
    step = max(1, _BYTES // (2 * x.shape[1] * weight.element_size()))  # a gathered row and a gathered view
    for at in range(0, len(rows), step):
        part = rows[at : at + step]
        z[at : at + step] = (weight[part] * x[of[at : at + step]]).sum(1) + bias[part]
    return z


def _narrow_logits(x: Tensor, table: NarrowTable, bias: Tensor, of: Tensor, rows: Tensor) -> Tensor:
    """The same, reading each row once; of and rows are in the order of the texts, and then of the rows."""
    own, places = torch.unique(rows, return_inverse=True)
    texts = torch.searchsorted(of, torch.arange(len(x) + 1, device=x.device))
    if not len(own):
        return x.new_empty(0)
    return candidate_scores(x, table.load_rows(own), bias[own], Candidates.of_ids(texts, places))


def _first(of: Tensor, keys: Tensor, ids: Tensor, room: int, n: int) -> tuple[Tensor, Tensor]:
    """The `room` best cells of each text, ties to the lower id, and the rank of each cell within its text."""
    rank = ids.argsort(stable=True)
    rank = rank[keys[rank].argsort(descending=True, stable=True)]
    rank = rank[of[rank].argsort(stable=True)]
    counts = torch.bincount(of, minlength=n)
    places = torch.arange(len(rank), device=of.device) - (counts.cumsum(0) - counts)[of[rank]]
    inside = places < room
    return rank[inside], places[inside]
