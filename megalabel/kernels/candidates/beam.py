"""Beam search for the best labels of each text in a tree of clusters.

    z[i, n] = views[i] · weights[i][n] + biases[i][n]     levels i = 0 … K − 1: clusters, K: labels in tree order
    kept[i] = the beams[i] best candidates of level i; those of level 0 are all its nodes, those of level i + 1
              the children of kept[i]
    p(n)    = σ(z of n)                            path_score="label"
            = σ(z of n) · σ(z of n's parent)       path_score="label*parent"
            = Π σ(z) from the top down to n        path_score="path"
            = σ(z of n) · √ p(n's parent)          path_score="decayed"

Clusters are ranked by their own z alone (CascadeXML, Kharbanda et al. 2022) or, with "path" and "decayed", by p.
"path" is a probabilistic label tree. "decayed" weighs a level half as much as the one below it, since a level that
is trained on the shortlist of the level above already depends on its scores. A product is ranked by its logarithm,
summed in float64 and rounded to float32, a single factor by its z; the probability is computed afterwards. So the
order is correct even where probabilities are 0 or 1 in float32, and equal printed scores need not be ties. Ties go
to the lower row, among labels to the lower label id. A beam that covers every node makes the search exact.

On a CPU numba runs (`_cpu/beam.py`), text by text; level 0 of more than one text is a matrix product over chunks
of texts, which are distributed over torch's threads without effect on the result. Rows of narrow tables are read
as float32 one at a time, level 0 of several texts at once. On other devices torch gathers the candidates' rows in
parts of bounded size. `plain` is the reference implementation of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from megalabel.errors import SettingError
from megalabel.kernels.candidates._beam_gather import gathered
from megalabel.kernels.candidates._beam_tables import BeamTables, BeamTree, Numbers, check_views
from megalabel.kernels.core.checks import check_excluded
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.threads import chunk_ranges, run_ranges, thread_count
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.types import Positives, TopK

PathScore = Literal["label", "label*parent", "path", "decayed"]

_COMPILED = Operation(__package__, "beam")
_MODES = get_args(PathScore)  # numbered as in _cpu/beam.py
_TEXTS = 32  # a chunk of level 0: its scores stay in a core's own cache
_NOTHING = np.empty(0, dtype=np.int64)
_NO_LOGITS = np.empty((1, 0), dtype=np.float32)


def plain(
    views: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    offsets: Sequence[Numbers],
    order: Numbers,
    beams: Sequence[int],
    k: int,
    path_score: PathScore = "label",
    exclude: Positives | None = None,
) -> TopK:
    """The same result from lists of candidates, text by text; float64 tables stay float64."""
    last = len(weights) - 1
    hidden = set() if exclude is None else set(zip(exclude.rows.tolist(), exclude.labels.tolist(), strict=True))
    labels, best = torch.full((len(views), k), -1), torch.full((len(views), k), -torch.inf)
    for b in range(len(views)):
        rows, above = list(range(len(weights[0]))), [0.0] * len(weights[0])
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            z = weight[rows] @ views[b, min(i, views.shape[1] - 1)].to(weight.dtype)
            z = (z if bias is None else z + bias[rows]).float()
            alone = logsigmoid(z.double())
            joint = alone + torch.tensor(above, dtype=torch.float64)
            joined = (path_score in ("path", "decayed") and i > 0) or (path_score == "label*parent" and i == last)
            keys = (joint.float() if joined else z).tolist()
            if i == last:
                break
            chosen = sorted(_ranked(keys, rows)[: beams[i]])
            children = [range(int(offsets[i][rows[c]]), int(offsets[i][rows[c] + 1])) for c in chosen]
            down = ((joint if joined else alone) * (0.5 if path_score == "decayed" else 1)).tolist()
            above = [down[c] for c, block in zip(chosen, children, strict=True) for _ in block]
            rows = [row for block in children for row in block]
        ids = [int(order[row]) for row in rows]
        ranked = [c for c in _ranked(keys, ids) if (b, ids[c]) not in hidden][:k]
        labels[b, : len(ranked)] = torch.tensor([ids[c] for c in ranked], dtype=torch.int64)
        best[b, : len(ranked)] = (joint.float().double() if joined else alone)[ranked].exp().float()
    return TopK(labels, best)


def _ranked(keys: list[float], ids: list[int]) -> list[int]:
    return sorted(range(len(keys)), key=lambda c: (-keys[c], ids[c]))


def beam_topk(
    views: Tensor,
    weights: Sequence[Tensor | NarrowTable],
    biases: Sequence[Tensor | None],
    offsets: Sequence[Numbers],
    order: Numbers,
    beams: Sequence[int],
    k: int,
    path_score: PathScore = "label",
    exclude: Positives | None = None,
) -> TopK:
    """The k best labels that a beam reaches; arguments and errors are those of `BeamSearch`."""
    return BeamSearch(weights, biases, offsets, order, beams, path_score)(views, k, exclude)


class BeamSearch:
    """A tree and its tables, checked once and searched many times.

    Tables that are float32 and contiguous are searched where they lie, so that changes of them are seen; others
    on a CPU are copied. Narrow tables are searched where they lie: single rows are read as float32 on a CPU,
    elsewhere those that a few texts reach. Threads may share a search.

    Args:
        weights: K + 1 tables (n_i, D), the last of places (L, D). Row n of table i is node n of level i.
        biases: K + 1 of (n_i,), or None where a table has none.
        offsets: K of (n_i + 1,) integers; children of node j of level i are rows offsets[i][j] to
            offsets[i][j + 1] − 1 of level i + 1.
        order: (L,) integers, the label id at each place.
        beams: K numbers, how many nodes of each level are kept; more than the level has means all.
        path_score: what the probability of a label is, see above.

    Raises:
        SettingError: shapes that do not fit, offsets that do not rise, a beam below 1, unknown `path_score`.
    """

    def __init__(
        self,
        weights: Sequence[Tensor | NarrowTable],
        biases: Sequence[Tensor | None],
        offsets: Sequence[Numbers],
        order: Numbers,
        beams: Sequence[int],
        path_score: PathScore = "label",
    ) -> None:
        self._tables = tables = BeamTables(weights, biases, offsets, order, beams)
        if path_score not in _MODES:
            wanted = " or ".join(_MODES)
            raise SettingError(
                f"path_score={path_score!r}", wanted=wanted, next_step="leave it out", where="path_score"
            )
        self.path_score = path_score
        self._walked: BeamTree | None = None
        if tables.device.type == "cpu":
            self._walked = tables.arrays(_MODES.index(path_score))

    @property
    def weights(self) -> list[Tensor | NarrowTable]:
        """The tables that are searched."""
        return self._tables.weights

    def __call__(self, views: Tensor, k: int, exclude: Positives | None = None) -> TopK:
        """The k best labels that the beam reaches.

        Args:
            views: (B, V, D), any floating type; V = 1, one view for all levels, or K + 1.
            k: 1 or more; where fewer labels are reached, label -1 with score -inf fills the row.
            exclude: pairs of text and label id that are never given, in any order.

        Returns:
            Label ids (B, k) int64 and probabilities (B, k) float32 on the views' device, best first.

        Raises:
            SettingError: k or views that do not fit, or logits on the way that are not finite.
            DataError: an excluded pair outside (B, L).
        """
        tables, views = self._tables, views.detach()
        if k < 1:
            raise SettingError(f"k={k}", wanted="1 or more", next_step="ask for at least one label", where="k")
        check_views(views, tables.weights)
        keep = min(k, tables.n_labels)
        pairs = _pairs(exclude, len(views), tables.n_labels)
        fast = None if self._walked is None else _COMPILED.for_table(tables.biases[0])
        if fast is None:
            labels, best, finite = gathered(views, tables, keep, self.path_score, pairs)
        else:
            labels, best, finite = self._walk(fast.walk, views, keep, pairs)
        if not finite:
            raise SettingError(
                "scores that are NaN or infinite",
                wanted="finite views, weights and biases",
                next_step="look for a diverged training run, and take an earlier checkpoint",
            )
        if keep < k:
            labels, best = pad(labels, (0, k - keep), value=-1), pad(best, (0, k - keep), value=-torch.inf)
        return TopK(labels, best)

    def _walk(
        self, walk: Callable[..., None], views: Tensor, k: int, pairs: Tensor | None
    ) -> tuple[Tensor, Tensor, bool]:
        n, tables, views = len(views), self._tables, views.float().contiguous()
        top_weight, top_bias, x = tables.weights[0], tables.biases[0], views.numpy()
        if n > 1 and isinstance(top_weight, NarrowTable):  # a product reads it once for 32 texts
            top_weight = top_weight.float()
        excluded, cuts = _NOTHING, np.zeros(n + 1, dtype=np.int64)
        if pairs is not None:
            cuts = np.searchsorted(pairs.numpy(), np.arange(n + 1) * tables.n_labels)
            excluded = pairs.numpy() % tables.n_labels
        labels, best = np.empty((n, k), dtype=np.int64), np.empty((n, k), dtype=np.float32)

        def texts(start: int, stop: int, top: np.ndarray) -> int:
            bad, part = np.zeros(1, dtype=np.int64), slice(start, stop)
            walk(x[part], top, self._walked, excluded, cuts[start : stop + 1], labels[part], best[part], bad)
            return int(bad[0])

        def chunks(numbers: range) -> int:
            bad = 0
            assert isinstance(top_weight, Tensor)
            for start in range(numbers.start * _TEXTS, min(numbers.stop * _TEXTS, n), _TEXTS):
                stop = min(start + _TEXTS, n)
                top = torch.addmm(top_bias, views[start:stop, 0], top_weight.t())
                bad += texts(start, stop, top.numpy())
            return bad

        if n == 1:  # slices of all arrays would take as long as a level
            count = np.zeros(1, dtype=np.int64)
            walk(x, _NO_LOGITS, self._walked, excluded, cuts, labels, best, count)
            bad = int(count[0])
        else:
            threads = thread_count(views.device)
            ranges = chunk_ranges(max(n, 1), _TEXTS, threads)
            if threads > len(ranges):  # alone in the caller's thread, the product would use all of torch's
                ranges.append(range(0))
            bad = sum(run_ranges(chunks, ranges))
        return torch.from_numpy(labels), torch.from_numpy(best), bad == 0


def _pairs(exclude: Positives | None, n: int, n_labels: int) -> Tensor | None:
    """Excluded pairs as text · L + label, ascending; None if there are none."""
    if exclude is None or not len(exclude):
        return None
    check_excluded(exclude, n, n_labels)
    return (exclude.rows * n_labels + exclude.labels).sort().values
