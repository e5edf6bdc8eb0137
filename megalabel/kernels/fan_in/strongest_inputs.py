"""Initial connections chosen by gradient: the inputs that best separate a label's texts from all others.

    s[l, d] = Σ over the texts n that have label l of (x[n, d] − mean of x[:, d]),    strength[m, d] = Σ s[l, d]²

over the labels l of group m; the F inputs with the largest strength are chosen. For biases at the prior and
weights at zero, −s is the gradient of a cross-entropy summed over all texts with respect to the weights of a dense
layer: this is regrowth by gradient (RigL, Evci et al., ICML 2020) before the first step, over all texts instead of
one batch, in which most labels do not occur.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.checks import all_finite, check_range, check_vectors
from megalabel.kernels.fan_in.connections import check_room, first_inputs, input_dtype
from megalabel.types import Positives

_LABELS = 8192  # labels whose strengths are in memory at a time


def strongest_inputs(
    x: Tensor,
    positives: Positives,
    n_labels: int,
    fan_in: int,
    *,
    group: int = 1,
    seed: int = 0,
    first_group: int = 0,
) -> Tensor:
    """The inputs of a new layer, chosen by the texts of each label: (⌈L / group⌉, F) of `input_dtype(D)`.

    Each row is sorted. A group whose labels have no text gets random inputs. Needs memory for 8,192 × D floats
    besides x.

    Args:
        x: (N, D) float, embeddings of the training texts.
        positives: the labels of the texts.
        n_labels: L.
        fan_in: F, from 1 to D.
        group: G, the number of neighboring labels that share their inputs.
        seed: seed of the random inputs.
        first_group: the number of the first of these groups in its layer, on which random inputs depend.

    Raises:
        SettingError: there are no texts, embeddings are not finite, or the fan-in is above D.
        DataError: a pair has a row or label out of range.
    """
    n, dim = x.shape
    _check(x, positives, n_labels)
    check_room(fan_in, dim, distinct=True)
    inputs = first_inputs(-(-n_labels // group), fan_in, dim, seed=seed, first=first_group).sort(dim=1).values
    table = x.detach().float().cpu().numpy()
    mean = table.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows, labels = positives.rows.cpu().numpy(), positives.labels.cpu().numpy()
    texts = sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (labels, rows)), shape=(n_labels, n))
    step = group * max(1, _LABELS // group)
    for first in range(0, n_labels, step):
        part = texts[first : first + step]
        sums = part @ table - np.asarray(part.sum(axis=1)) * mean
        starts = np.arange(0, len(sums), group)
        strength = np.add.reduceat(np.square(sums), starts, axis=0)
        best = np.argpartition(-strength, fan_in - 1, axis=1)[:, :fan_in]
        known = np.add.reduceat(np.diff(part.indptr), starts) > 0
        chosen = torch.from_numpy(np.sort(best[known], axis=1)).to(input_dtype(dim))
        inputs[first // group + torch.from_numpy(np.flatnonzero(known))] = chosen
    return inputs


def _check(x: Tensor, positives: Positives, n_labels: int) -> None:
    if len(x) == 0 or not all_finite(x):
        raise SettingError(
            f"embeddings {tuple(x.shape)}" + (" with inf or NaN in them" if len(x) else ""),
            wanted="finite embeddings of at least one text",
            next_step="check the encoder, or use random initial connections",
        )
    check_vectors(positives)
    for name, found, n in (("row", positives.rows, len(x)), ("label", positives.labels, n_labels)):
        if len(found):
            check_range(
                name,
                int(found.min()),
                int(found.max()),
                n,
                "check that the pairs belong to these texts and labels",
            )
