"""The scores of the labels that a search has found, from the weights themselves.

    score[t, i] = x[t] · weight[ids[t, i]] + bias[ids[t, i]]

summed in float32. Numba computes them for float32 weights on a CPU (`_cpu/exact_scores.py`); rows of narrow
weights are read as float32 first, a few texts at a time. `plain` is the definition.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.threads import parallel_for
from megalabel.kernels.rounding.narrow_table import NarrowTable

_COMPILED = Operation(__package__, "exact_scores")
_CELLS = 1 << 22  # numbers of gathered rows in memory at a time
_BLOCK = 256  # texts of a thread


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor) -> Tensor:
    """The same result in the dtype of x and the weights, which may be float64."""
    scores = torch.einsum("td,tid->ti", x, weight[ids.clamp(min=0)])
    scores = scores if bias is None else scores + bias[ids.clamp(min=0)]
    return scores.masked_fill(ids < 0, -torch.inf)


@torch.no_grad()
def exact_scores(x: Tensor, weight: Tensor | NarrowTable, bias: Tensor | None, ids: Tensor) -> Tensor:
    """Scores of given labels.

    Args:
        x: (B, D) float32, on the CPU like everything else.
        weight: (L, D) float32, or narrow.
        bias: (L,) float32, or None.
        ids: (B, n) int64, labels from 0 to L − 1; −1 for none.

    Returns:
        (B, n) float32; −inf where there is no label.

    Raises:
        SettingError: shapes do not fit, or a label is outside of the table.
    """
    good = x.dim() == ids.dim() == 2 and len(x) == len(ids) and x.shape[1] == weight.shape[1]
    if not good or (ids.numel() and (int(ids.min()) < -1 or int(ids.max()) >= weight.shape[0])):
        raise SettingError(
            f"texts {tuple(x.shape)} and labels {tuple(ids.shape)} for weights {tuple(weight.shape)}",
            wanted="(B, D), (B, n) and (L, D), with labels from -1 to L - 1",
            where="ids",
        )
    step = max(1, _CELLS // max(1, ids.shape[1] * x.shape[1]))
    if isinstance(weight, NarrowTable):
        parts = [_of_narrow(x[i : i + step], weight, bias, ids[i : i + step]) for i in range(0, len(x), step)]
        return torch.cat(parts) if parts else x.new_empty(ids.shape)
    fast = _COMPILED.for_table(weight)
    if fast is None:
        parts = [plain(x[i : i + step], weight, bias, ids[i : i + step]) for i in range(0, len(x), step)]
        return torch.cat(parts) if parts else x.new_empty(ids.shape)
    scores = torch.empty(ids.shape)
    arrays = [t.detach().contiguous().numpy() for t in (x, weight, torch.empty(0) if bias is None else bias)]

    def run(_: int, piece: int) -> None:
        part = slice(piece * _BLOCK, (piece + 1) * _BLOCK)
        fast.score(arrays[0][part], *arrays[1:], found[part], scores.numpy()[part])

    found = np.ascontiguousarray(ids.numpy())
    if len(x) <= _BLOCK:
        run(0, 0)
    else:
        parallel_for(run, -(-len(x) // _BLOCK))
    return scores


def _of_narrow(x: Tensor, weight: NarrowTable, bias: Tensor | None, ids: Tensor) -> Tensor:
    """The scores of a few texts with narrow weights."""
    wanted, places = ids.clamp(min=0).unique(return_inverse=True)
    rows = weight.load_rows(wanted)
    own = None if bias is None else bias.detach()[wanted]
    return plain(x, rows, own, places).masked_fill(ids < 0, -torch.inf)
