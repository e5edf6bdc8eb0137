"""Matrix products for the case that every row is a candidate of every text, as on the coarsest level of a tree.

Products are computed in chunks of a fixed size, each by one thread, so that results do not depend on the number of
threads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.core.threads import chunk_ranges, run_ranges, thread_count

_TEXTS = 32  # texts per chunk: its logits fit into the L2 cache up to 8,000 rows
_ROWS = 128
_ENOUGH = 16  # number of texts from which on matrix products are faster


def bce(
    views: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    offsets: Tensor,
    rows: Tensor,
    scale: float,
    wants_views: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Value (), logits (C,), ∂value/∂logits (C,), and ∂value/∂views (B, D) if needed."""
    n, batch = candidates.n_rows, candidates.batch
    table = weight[:n]
    logits, cells = views.new_empty(batch, n), views.new_empty(batch, n)
    dviews = torch.empty_like(views) if wants_views else None
    texts = torch.arange(batch).repeat_interleave(offsets.diff(), output_size=len(rows))
    cuts = offsets[torch.arange(0, batch + _TEXTS, _TEXTS).clamp(max=batch)].tolist()

    def part(numbers: range) -> list[float]:
        values = []
        for i in numbers:
            some = slice(i * _TEXTS, min((i + 1) * _TEXTS, batch))
            z, g = logits[some], cells[some]
            torch.mm(views[some], table.t(), out=z)
            if bias is not None:
                z += bias[:n]
            row = rows[cuts[i] : cuts[i + 1]]
            true = texts[cuts[i] : cuts[i + 1]][row < n] - some.start, row[row < n]
            values.append(float(softplus(z).sum(dtype=torch.float64) - z[true].sum(dtype=torch.float64)))
            torch.sigmoid(z, out=g)
            g[true] = -torch.sigmoid(-z[true])  # σ(z) − 1 without cancellation
            g *= scale
            if dviews is not None:
                torch.mm(g, table, out=dviews[some])
        return values

    ranges = _ranges(batch, _TEXTS)
    value = scale * sum(v for values in run_ranges(part, ranges) for v in values)
    return views.new_tensor(value), logits.view(-1), cells.view(-1), dviews


def sums(groups: RowGroups) -> tuple[Tensor, Tensor]:
    """The gradients of all rows (n, D) and of their bias (n,) if each member has all rows, else empty arrays."""
    members, dim = len(groups.texts), groups.views.shape[1]
    n = int(groups.ends[0] - groups.starts[0]) if len(groups) == 1 else 0
    whole = n > 0 and members >= _ENOUGH and len(groups.cells) == members * n and len(groups.views) == members
    if not whole:
        return groups.views.new_empty(0, dim), groups.views.new_empty(0)
    cells = groups.cells.view(members, n)
    of_rows = groups.views.new_empty(n, dim)

    def part(numbers: range) -> None:
        for i in numbers:
            some = slice(i * _ROWS, min((i + 1) * _ROWS, n))
            torch.mm(cells[:, some].t(), groups.views, out=of_rows[some])

    run_ranges(part, _ranges(n, _ROWS))
    return of_rows, cells.sum(0)


def _ranges(n: int, chunk: int) -> list[range]:
    threads = thread_count(torch.device("cpu"))
    ranges = chunk_ranges(n, chunk, threads)
    if threads > len(ranges):  # run in the caller's thread, a product would use all of torch's threads
        ranges.append(range(0))
    return ranges
