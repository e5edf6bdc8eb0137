"""A head with a weight vector per label that scores every label for every text: Renée."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.heads.abilities import LabelPrior, Searchable
from megalabel.heads.base import Head, OptimizerStates
from megalabel.heads.checks import check_arguments, check_reduction, prior_bias
from megalabel.heads.stored_table import StoredTable
from megalabel.index.base import LabelTable
from megalabel.kernels.all_labels.all_labels_loss import all_labels_loss
from megalabel.kernels.all_labels.label_loss import check_loss
from megalabel.kernels.all_labels.streaming_topk import streaming_topk
from megalabel.kernels.core.dtypes import weight_type
from megalabel.types import Positives, Reduction, TopK


class DenseHead(StoredTable, LabelPrior, Searchable, Head):
    """Scores z = W x (+ bias) over all labels.

    The loss is the **sum** over texts and labels of the binary cross-entropy, as in Renée (MLSys 2023): the
    learning rate of the head depends on the batch size, not on the number of labels. With `reduction="mean"` it is
    the mean over texts and labels. No tensor of size B × L is allocated, in training or in prediction.

    With `update_rule` set, the backward pass of the loss updates the weights itself and produces no gradient of
    them; an optimizer such as `FusedSGD` only sets the learning rate of the rule. With `update_rule` None,
    weights get gradients and any torch optimizer trains them.

    Args:
        n_labels: L.
        dim: D, the width of the embedding.
        bias: whether to add a bias per label. Renée has none. Initialized by `init_prior` it helps with few
            training texts, since the weights need not learn how rare their labels are.
        loss: "bce", binary cross-entropy with logits, or "squared_hinge" (`kernels/all_labels/label_loss.py`).
        reduction: "sum" or "mean".
        init_std: standard deviation of the initial weights (Renée: 0.02); the bias is initialized with 0.
        loss_every: in training, compute the value of the loss only in every n-th step, the first included, and
            return NaN in between. Gradients do not depend on it; a step with the value takes a third to a half
            longer. `after_step` counts the steps. Outside training (`eval`, `no_grad`) the value is always
            computed, and weights never change.
        chunk: number of labels processed at a time; None to choose it by the cache sizes.
        compute_dtype: dtype of the matrix products in training, such as torch.bfloat16; weights stay float32. None
            for autocast's dtype on CUDA where it is on (Renée's half-precision classifier), else float32.
        weights: the type in which the weights are stored: "float32", "bfloat16" or "float8" (E4M3 with a power of
            two per label as scale). Narrow weights are trained by `FusedSGD` or `FusedAdagrad`, which round them
            stochastically, and have no gradients. They are read a chunk at a time, in prediction too, without a
            copy in float32.
        part: the labels that this head holds of the L, such as range(100, 200): its weights are those that they
            have in the head of all labels, and so is its loss if that is a mean. None for all; may be empty.
        generator: random generator of the initial weights; None for torch's default.

    Raises:
        SettingError: an argument is out of range.
    """

    n_views = 1
    uses_weights = True

    def __init__(
        self,
        n_labels: int,
        dim: int,
        *,
        bias: bool = False,
        loss: str = "bce",
        reduction: Reduction = "sum",
        init_std: float = 0.02,
        loss_every: int = 1,
        chunk: int | None = None,
        compute_dtype: torch.dtype | None = None,
        weights: str = "float32",
        part: range | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.hold(n_labels, part)
        numbers = (("dim", dim), ("loss_every", loss_every))
        check_arguments(*((name, number, "1 or more", number >= 1) for name, number in numbers))
        check_loss(loss)
        check_reduction(reduction)
        self.dim = dim
        self.loss_name, self.reduction = loss, reduction
        self.loss_every, self.chunk, self.compute_dtype = loss_every, chunk, compute_dtype
        self.add_weights(
            dim, weight_type(weights), init_std,
            lambda rows: rows.normal_(0, init_std, generator=generator), generator,
        )  # fmt: skip
        self.bias = nn.Parameter(torch.zeros(self.n_labels)) if bias else None
        self._step = 0

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The loss, summed or averaged over texts and labels: (B, 1, D) to a scalar."""
        self.check_views(views)
        training = self.training and torch.is_grad_enabled()
        value = not training or self._step % self.loss_every == 0
        device = views.device.type
        dtype = self.compute_dtype
        if dtype is None and device == "cuda" and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        with torch.autocast(
            device, enabled=False
        ):  # the kernel casts its inputs itself and accumulates in float32
            return all_labels_loss(
                views[:, 0],
                self.table(frozen=not self.training),
                self.bias,
                positives,
                loss=self.loss_name,
                scale=1 / max(len(views) * self.all_labels, 1) if self.reduction == "mean" else 1.0,
                rule=self.update_rule if self.training else None,
                step=self.step_context,
                value=value,
                chunk=self.chunk,
                compute_dtype=dtype,
            )

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels of each text by score: (B, 1, D) to ids and scores (B, k)."""
        x, table = self.queries(views), self.table()
        return streaming_topk(x, table, self.bias, k, exclude, row_to_label=row_to_label, chunk=self.chunk)

    def label_table(self) -> LabelTable:
        """The weights and the biases."""
        return LabelTable(self.table(frozen=True), self.bias)

    def queries(self, views: Tensor) -> Tensor:
        """The only view of each text: (B, 1, D) to (B, D)."""
        self.check_views(views)
        return views[:, 0]

    def check_state(self) -> None:
        """Raises SettingError for scales with which weights would overflow."""
        self.check_scales()

    def after_step(self, step: int, optimizers: OptimizerStates | None) -> None:
        """Counts the steps for `loss_every`."""
        self._step = step + 1

    @torch.no_grad()
    def init_prior(self, label_counts: Tensor, n_texts: int) -> None:
        """Initializes the bias with `prior_bias` of (L,) counts among `n_texts` training texts.

        Raises:
            SettingError: the head has no bias, or the counts do not fit these labels and texts.
        """
        if self.bias is None:
            raise SettingError(
                "a head without bias", wanted="bias=True", next_step="make it with DenseHead(..., bias=True)"
            )
        self.bias.copy_(prior_bias(label_counts, n_texts, self.n_labels, self.loss_name))

    def config(self) -> dict[str, Any]:
        """The shape, and the loss unless it is "bce"; learning rates and chunk size are settings of training."""
        shape: dict[str, Any] = {"n_labels": self.n_labels, "dim": self.dim, "bias": self.bias is not None}
        loss = {} if self.loss_name == "bce" else {"loss": self.loss_name}
        return shape | loss | self.weight_config()

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """See `Head.from_config`; narrow weights, which take long to initialize, are zeros."""
        return cls(**({**config, "init_std": 0.0} if "weights" in config else config))

    def extra_repr(self) -> str:
        """Returns the part of repr(head) inside the parentheses."""
        kind = f", weights={self.weight_type.name}" if self.weight_type.is_narrow else ""
        return f"n_labels={self.n_labels}, dim={self.dim}, bias={self.bias is not None}{kind}"
