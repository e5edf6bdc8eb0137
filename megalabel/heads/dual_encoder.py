"""Label vectors encoded from the labels' texts, trained with the decoupled softmax: DEXML."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize, softplus
from torch.utils.checkpoint import checkpoint

from megalabel.heads.abilities import BindsLabels, Searchable
from megalabel.heads.base import Head, TrainingEmbeddings
from megalabel.heads.checks import check_arguments, check_labels, check_reduction
from megalabel.index.base import LabelTable
from megalabel.kernels.all_labels.streaming_topk import streaming_topk
from megalabel.types import Positives, Reduction, ScoreType, TopK

CELLS = 1 << 22  # scores of a batch in memory at a time
TEXTS = 1024  # training texts whose hard negatives are mined together


class DualEncoderHead(BindsLabels, Searchable, Head):
    """Scores a text against label vectors that an encoder makes from the labels' texts (DEXML, ICLR 2024).

        s[b, l] = <x_b / |x_b|, v_l / |v_l|> / temperature

    Label vectors are not parameters: in training they are encoded in every step, so that the gradient reaches the
    labels' encoder (`bind`), usually that of the texts. `settle` encodes all labels once and stores their unit
    vectors in the buffer `label_vectors`, which `topk` searches exactly.

    The loss is the decoupled softmax (Gupta et al., arXiv 2310.10636): for each positive l of a text

        −log( exp(s_l) / (exp(s_l) + Σ_j exp(s_j)) ),   j over the labels that the text does not have

    so positives do not compete with each other. With `reduction="mean"` it is the **mean** over the texts of the
    batch of the mean over each text's positives; with "sum" the sum over all pairs, as in the paper. A text
    without labels contributes 0.

    In training j runs over all labels or, if `negatives` is set, over a set of labels that the whole batch shares:
    its positives, `negatives` labels drawn uniformly, and the hard negatives of its texts. Outside training it
    always runs over all labels. Scores are computed in chunks, forward and again backward: besides the vectors (m,
    D) of the scored labels no tensor has a dimension of their number.

    Args:
        n_labels: L.
        dim: D, the width of the vectors of texts and labels.
        temperature: divisor of the inner products of unit vectors.
        negatives: number of labels drawn per batch; 0 for all labels.
        hard_negatives: number of labels per training text that `refresh` mines: the best scored of those that the
            text does not have. Requires `negatives`.
        n_texts: N, the number of training texts, for the table of hard negatives.
        reduction: "mean" or "sum".
        labels_at_once: number of label texts encoded together. If more are scored, they are encoded part by part
            and again in the backward pass, which needs memory for one part only (the authors' gradient cache).

    Raises:
        SettingError: a number is out of range.
    """

    score_type: ScoreType = "logit"
    loss_name = "softmax"
    uses_weights = True

    def __init__(
        self,
        n_labels: int,
        dim: int,
        *,
        temperature: float = 0.05,
        negatives: int = 0,
        hard_negatives: int = 0,
        n_texts: int = 0,
        reduction: Reduction = "mean",
        labels_at_once: int = 8192,
    ) -> None:
        super().__init__()
        check_arguments(
            ("n_labels", n_labels, "1 or more", n_labels >= 1),
            ("dim", dim, "1 or more", dim >= 1),
            ("temperature", temperature, "above 0", temperature > 0),
            ("negatives", negatives, "0 or more", negatives >= 0),
            ("hard_negatives", hard_negatives, "0 or more", hard_negatives >= 0),
            ("hard_negatives", hard_negatives, "0 where negatives is 0", not hard_negatives or negatives > 0),
            ("labels_at_once", labels_at_once, "1 or more", labels_at_once >= 1),
        )
        check_reduction(reduction)
        self.n_labels, self.dim, self.temperature, self.reduction = n_labels, dim, temperature, reduction
        self.negatives, self.labels_at_once = negatives, labels_at_once
        self.register_buffer("label_vectors", torch.zeros(n_labels, dim))
        self.register_buffer("hard", torch.full((n_texts, hard_negatives), -1, dtype=torch.int32))

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The decoupled softmax, summed or averaged over the texts: (B, 1, D) to a scalar."""
        self.check_views(views)
        check_labels(positives, self.n_labels)
        scored = self._scored(positives)
        device = views.device.type
        vectors = self._encoded(scored)
        with torch.autocast(device, enabled=False):
            x, v = normalize(views[:, 0], dim=1), normalize(vectors.to(views.dtype), dim=1)
            weights = self._weights(positives, len(views)).to(x.dtype)
            columns = torch.searchsorted(scored, positives.labels)
            value: Tensor = _DecoupledSoftmax.apply(  # type: ignore[no-untyped-call]
                x, v, positives.rows, columns, weights, self.temperature, max(1, CELLS // max(len(x), 1))
            )
        return value

    def _weights(self, positives: Positives, n_texts: int) -> Tensor:
        """The weight of each pair in the loss, (P,)."""
        if self.reduction == "sum":
            weights = torch.ones_like(positives.rows, dtype=torch.float64)
        else:
            counts = torch.bincount(positives.rows, minlength=n_texts)
            weights = 1 / (counts[positives.rows].double() * n_texts)
        of_texts = positives.weights
        return weights if of_texts is None else weights * of_texts.double()[positives.rows]

    def _scored(self, positives: Positives) -> Tensor:
        """The labels against which the batch is scored, ascending: (m,) int64."""
        device = positives.labels.device
        if not (self.training and self.negatives):
            return torch.arange(self.n_labels, device=device)
        drawn = torch.randint(self.n_labels, (self.negatives,), device=device)
        hard = self.get_buffer("hard")
        parts = [positives.labels, drawn]
        if positives.texts is not None and hard.numel():
            found = hard[positives.texts].flatten().long()
            parts.append(found[found >= 0])
        scored: Tensor = torch.cat(parts).unique()
        return scored

    def _encoded(self, ids: Tensor) -> Tensor:
        """The vectors of some labels' texts, not normalized: ids (m,) to (m, D)."""
        if len(ids) <= self.labels_at_once or not torch.is_grad_enabled():
            parts = [self._encode(part) for part in ids.split(self.labels_at_once)]
        else:
            parts = [
                checkpoint(self._encode, part, use_reentrant=False) for part in ids.split(self.labels_at_once)
            ]
        return torch.cat(parts)

    def _encode(self, ids: Tensor) -> Tensor:
        return self.label_texts(ids)[:, -1]

    @torch.no_grad()
    def settle(self) -> None:
        """Encodes the texts of all labels into `label_vectors`; without `bind` the stored ones stay."""
        if not self._bound:
            return
        ids = torch.arange(self.n_labels, device=self.get_buffer("label_vectors").device)
        for part in ids.split(self.labels_at_once):
            self.get_buffer("label_vectors")[part] = normalize(self._encode(part).float(), dim=1)

    @torch.no_grad()
    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Mines the hard negatives of every training text: the best scored labels that it does not have."""
        hard = self.get_buffer("hard")
        if not hard.numel():
            return
        views, positives = embeddings()  # this leaves the encoder in evaluation mode
        self.settle()
        for start in range(0, len(views), TEXTS):
            part = positives.of_texts(start, start + TEXTS)
            if part.texts is not None:
                x = views[start : start + TEXTS].to(hard.device)
                hard[part.texts] = self.topk(x, hard.shape[1], exclude=part.to(hard.device)).ids.to(hard.dtype)

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The exact k best labels by the vectors of the last `settle`: (B, 1, D) to ids and scores (B, k)."""
        return streaming_topk(self.queries(views), *self.label_table(), k, exclude, row_to_label=row_to_label)

    def label_table(self) -> LabelTable:
        """The vectors of the last `settle`."""
        return LabelTable(self.get_buffer("label_vectors"), None)

    def queries(self, views: Tensor) -> Tensor:
        """Unit vectors divided by the temperature: (B, 1, D) to (B, D)."""
        self.check_views(views)
        return normalize(views[:, 0].float(), dim=1) / self.temperature

    def without_hard_negatives(self) -> DualEncoderHead:
        """The head for prediction: the same label vectors, without the table of hard negatives."""
        head = DualEncoderHead(**self.config())
        head.register_buffer("label_vectors", self.get_buffer("label_vectors"))
        return head

    def config(self) -> dict[str, Any]:
        """The shape and the temperature; negatives are settings of training."""
        return {"n_labels": self.n_labels, "dim": self.dim, "temperature": self.temperature}

    def extra_repr(self) -> str:
        """Returns the part of repr(head) inside the parentheses."""
        return f"n_labels={self.n_labels}, dim={self.dim}, temperature={self.temperature}"


class _DecoupledSoftmax(torch.autograd.Function):
    """Σ_p weights[p] · softplus(lse[rows[p]] − s[rows[p], columns[p]]), computed in chunks of columns.

    lse[b] is the logarithm of the sum of exp(s[b, j]) over the columns j that are not positives of text b. x (B,
    D) and v (m, D) are unit vectors, s = x vᵀ / temperature. Pairs are sorted by column.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, v: Tensor, rows: Tensor, columns: Tensor, weights: Tensor,
        temperature: float, chunk: int,
    ) -> Tensor:  # fmt: skip
        """Returns the weighted sum."""
        lse, own = x.new_full((len(x),), -torch.inf), x.new_zeros(len(rows))
        for start, stop, cut in _chunks(len(v), columns, chunk):
            s = x @ v[start:stop].t() / temperature
            at = rows[cut], columns[cut] - start
            own[cut] = s[at]
            s[at] = -torch.inf
            lse = torch.logaddexp(lse, s.logsumexp(1))
        excess = lse[rows] - own
        ctx.save_for_backward(x, v, rows, columns, weights * excess.sigmoid(), lse)
        ctx.temperature, ctx.chunk = temperature, chunk
        return (weights * softplus(excess)).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of x and v; scores are computed again."""
        x, v, rows, columns, slopes, lse = ctx.saved_tensors
        slopes = slopes * upstream / ctx.temperature
        mass = x.new_zeros(len(x)).index_add_(0, rows, slopes)
        lse = torch.where(lse.isfinite(), lse, 0.0)  # -inf where a text has every label: its mass is 0
        dx, dv = torch.zeros_like(x), torch.empty_like(v)
        for start, stop, cut in _chunks(len(v), columns, ctx.chunk):
            s = (x @ v[start:stop].t() / ctx.temperature).sub_(lse[:, None]).exp_().mul_(mass[:, None])
            s[rows[cut], columns[cut] - start] = -slopes[cut]
            dx.addmm_(s, v[start:stop])
            dv[start:stop] = s.t() @ x
        return dx, dv, None, None, None, None, None


def _chunks(n: int, columns: Tensor, chunk: int) -> list[tuple[int, int, slice]]:
    """Ranges of columns, and the pairs, sorted by column, that are in each."""
    starts = list(range(0, n, chunk))
    edges = torch.tensor([*starts, n], device=columns.device)
    cuts = torch.searchsorted(columns.contiguous(), edges).tolist()
    return [(start, min(start + chunk, n), slice(cuts[i], cuts[i + 1])) for i, start in enumerate(starts)]
