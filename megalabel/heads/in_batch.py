"""A dual encoder trained on the labels of its batch, and the clusters of texts that make batches: NGAME."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import normalize

from megalabel.errors import SettingError
from megalabel.heads.base import TrainingEmbeddings
from megalabel.heads.checks import check_arguments, check_labels
from megalabel.heads.dual_encoder import CELLS, DualEncoderHead, _DecoupledSoftmax
from megalabel.kernels.clustering.balanced_split import balanced_tree
from megalabel.types import Positives

Loss = Literal["triplet", "softmax"]
Weighting = Literal["mean", "softmax"]
WEIGHTING_TEMPERATURE = 0.1  # of the weights of negatives, as in the authors' code
TOLERANCE = 1e-3  # of the clustering, which is done again every few epochs


class InBatchHead(DualEncoderHead):
    """A dual encoder whose negatives are the labels of the other texts of the batch (NGAME, WSDM 2023).

    One of the labels of each text is drawn; the drawn labels of all texts are the labels of the batch. With unit
    vectors x_b of texts and v_l of label texts, s[b, l] = <x_b, v_l>, and p_b the drawn label of text b, the loss
    is the **mean** over the texts of the batch (a text without labels counts 0) of

        "triplet"  Σ_j w_j · max(0, s[b, j] − s[b, p_b] + margin),   j over the `hardest` best scored labels of the
                   batch that text b does not have; w_j is 1 / their number ("mean"), or the softmax of s[b, j] /
                   0.1 over them, where terms that are 0 count as s = 0 ("softmax")
        "softmax"  the decoupled softmax of `DualEncoderHead` over the labels of the batch, averaged over all
                   labels of the text among them

    `refresh` clusters the training texts by their unit vectors: balanced, by halving, so that the texts of a
    cluster are neighbors in the buffer `order`, for clusters of any size. Batches that are unions of such clusters
    hold hard negatives (`megalabel.inputs.cluster_batches`). Prediction is that of `DualEncoderHead`.

    Args:
        n_labels, dim, temperature, labels_at_once: as in `DualEncoderHead`.
        n_texts: N, the number of training texts; 0 for no clusters.
        cluster_seed: seeds the clustering.
        loss: "triplet", which is published, or "softmax".
        margin: of the triplet loss.
        hardest: the number of negatives of a text in the triplet loss.
        weighting: of these negatives.

    Raises:
        SettingError: a number is out of range, or loss or weighting is unknown.
    """

    uses_weights = True

    def __init__(
        self,
        n_labels: int,
        dim: int,
        *,
        temperature: float = 0.05,
        labels_at_once: int = 8192,
        n_texts: int = 0,
        cluster_seed: int = 0,
        loss: Loss = "triplet",
        margin: float = 0.3,
        hardest: int = 10,
        weighting: Weighting = "softmax",
    ) -> None:
        super().__init__(n_labels, dim, temperature=temperature, labels_at_once=labels_at_once)
        check_arguments(
            ("margin", margin, "above 0", margin > 0),
            ("hardest", hardest, "1 or more", hardest >= 1),
            ("n_texts", n_texts, "0 or more", n_texts >= 0),
        )
        for name, value, choices in (
            ("loss", loss, get_args(Loss)),
            ("weighting", weighting, get_args(Weighting)),
        ):
            if value not in choices:
                raise SettingError.choice(name, value, choices)
        self.loss_kind, self.margin, self.hardest, self.weighting = loss, margin, hardest, weighting
        self.cluster_seed = cluster_seed
        self.register_buffer("order", torch.arange(n_texts, dtype=torch.int32))

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The loss over the labels of the batch, averaged over its texts: (B, 1, D) to a scalar."""
        self.check_views(views)
        check_labels(positives, self.n_labels)
        drawn = self._drawn(positives)
        scored = positives.labels[drawn].unique()
        if len(scored) == 0:
            return 0.0 * views.sum()
        vectors = self._encoded(scored)
        with torch.autocast(views.device.type, enabled=False):
            x, v = normalize(views[:, 0], dim=1), normalize(vectors.to(views.dtype), dim=1)
            columns = torch.searchsorted(scored, positives.labels).clamp(max=len(scored) - 1)
            among = scored[columns] == positives.labels
            own = positives.rows[among], columns[among]
            if self.loss_kind == "softmax":
                return self._softmax(x, v, *own, positives.weights)
            return self._triplet(x, v, own, (positives.rows[drawn], columns[drawn]), positives.weights)

    def _drawn(self, positives: Positives) -> Tensor:
        """The positions of one pair of each text with labels: drawn in training, else its first label."""
        keys = torch.rand(len(positives), dtype=torch.float64, device=positives.rows.device)
        order = (positives.rows + (keys if self.training else 0.0 * keys)).argsort(stable=True)
        rows = positives.rows[order]
        first = torch.ones_like(rows, dtype=torch.bool)
        first[1:] = rows[1:] != rows[:-1]
        found: Tensor = order[first]
        return found

    def _softmax(self, x: Tensor, v: Tensor, rows: Tensor, columns: Tensor, of_texts: Tensor | None) -> Tensor:
        counts = torch.bincount(rows, minlength=len(x))
        weights = (1 / (counts[rows].double() * len(x))).to(x.dtype)
        if of_texts is not None:
            weights = weights * of_texts[rows].to(x.dtype)
        value: Tensor = _DecoupledSoftmax.apply(  # type: ignore[no-untyped-call]
            x, v, rows, columns, weights, self.temperature, max(1, CELLS // max(len(x), 1))
        )
        return value

    def _triplet(
        self,
        x: Tensor,
        v: Tensor,
        own: tuple[Tensor, Tensor],
        drawn: tuple[Tensor, Tensor],
        of_texts: Tensor | None,
    ) -> Tensor:
        scores = x @ v.t()
        rows = drawn[0]
        positive = scores[drawn]
        negative = scores.masked_fill(
            torch.zeros_like(scores, dtype=torch.bool).index_put(own, _true(x)), -torch.inf
        )
        best = negative[rows].topk(min(self.hardest, len(v)), dim=1).values
        there = best.isfinite()
        best = best.masked_fill(~there, 0.0)
        terms = (best - positive[:, None] + self.margin).clamp(min=0) * there
        if self.weighting == "mean":
            weights = there.to(x.dtype) / there.sum(1, keepdim=True).clamp(min=1)
        else:
            logits = (best * (terms > 0) / WEIGHTING_TEMPERATURE).masked_fill(~there, -torch.inf)
            weights = torch.where(there.any(1, keepdim=True), logits, 0.0).softmax(1)
        if of_texts is not None:
            terms = terms * of_texts[rows, None].to(x.dtype)
        return (weights * terms).sum() / len(x)

    @torch.no_grad()
    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Clusters the training texts by their vectors into `order` (N,), of which clusters are ranges."""
        buffer = self.get_buffer("order")
        if len(buffer) < 2:
            return
        views, positives = embeddings()
        assert positives.texts is not None
        x = torch.empty(len(views), self.dim)
        x[positives.texts] = normalize(views[:, 0].float(), dim=1)
        depth = (len(x) - 1).bit_length() - 1 or 1  # down to clusters of about two texts
        order, _ = balanced_tree(sp.csr_matrix(x.numpy()), (depth,), seed=self.cluster_seed, tolerance=TOLERANCE)
        buffer.copy_(torch.from_numpy(order.astype(np.int32)))

    def for_prediction(self) -> DualEncoderHead:
        """The head for prediction, with the same label vectors and without what is kept per training text."""
        return self.without_hard_negatives()

    def extra_repr(self) -> str:
        """Returns the part of repr(head) inside the parentheses."""
        return f"{super().extra_repr()}, loss={self.loss_kind!r}, margin={self.margin}, hardest={self.hardest}"


def _true(like: Tensor) -> Tensor:
    return torch.ones((), dtype=torch.bool, device=like.device)
