"""What every head is: views of a text in, a loss or the best labels out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.sparse.merge_topk import best_of
from megalabel.kernels.updates.rule import ONLY_PART, StepContext, UpdateRule
from megalabel.types import Gives, Positives, TopK

# All training rows by the encoder as it begins: views (N, V, D) on the CPU, and their labels; made when called.
Embedded = Callable[[], tuple[Tensor, Positives]]


class Head(nn.Module, ABC):
    """Turns the views of a text into labels.

    A new head is one file: a subclass that sets the attributes, keeps what it learns as parameters (so that
    `state_dict` holds all of it), and writes `loss`, `topk` and `settings`. Its docstring says over what the
    loss is summed or averaged, since learning rates depend on it. Memory for work stays far below B × L. The
    checks in `tests/heads/battery.py` hold for every head: a new one adds a few lines to run them. To change
    a head's behaviour, wrap it in another head rather than add a flag.

    Attributes:
        n_views: how many vectors of a text it wants of the encoder.
        averaged: whether `loss` is a mean over what it scores, not a sum over texts: so the log reads it.
        gives: what the scores of `topk` are: logits, or probabilities.
        n_labels: L.
        dim: D, the width of a view.
        rule: there on heads only whose backward pass can update their own weights; set by `FusedSGD` or
            `FusedAdam`, None where gradients are torch's.
        step_context: where the next micro-batch stands within its optimizer step; set by the same optimizers, and
            passed to the kernel when the loss is computed.
        pending: there on heads only that can keep the gradients of their `tables()` factored, a list for each
            table; set by a `RowOptimizer`, None where gradients are torch's.
    """

    n_views: int = 1
    averaged: bool = False
    gives: Gives = "logits"
    n_labels: int
    dim: int
    rule: UpdateRule | None
    step_context: StepContext = ONLY_PART
    pending: list[list[TableGradient]] | None

    @abstractmethod
    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """How wrong we are on this batch: views (B, V, D) to a scalar."""

    @abstractmethod
    def topk(self, views: Tensor, k: int, exclude: Positives | None = None) -> TopK:
        """The best k labels of each text, views (B, V, D); `exclude` never among them."""

    def topk_named(self, views: Tensor, k: int, exclude: Positives | None, names: Tensor) -> TopK:
        """The answer of `topk` where row r of this head is label names[r]: (L,) int64, a permutation.

        `exclude` and the answer speak of labels, and ties go to the lower label. Here, ties between the last label
        given and one left out go to the lower row; a head that knows better overrides this.
        """
        if exclude is not None:
            exclude = Positives.of(exclude.rows, names.argsort()[exclude.labels])
        found = self.topk(views, k, exclude)
        labels = torch.where(found.labels < 0, -1, names[found.labels])
        return best_of(labels, found.scores, k)

    def prepare(self, embedded: Embedded) -> None:
        """Called once before the first step of a run; `embedded()` are all training rows. Usually nothing."""

    def after_step(self, step: int, optimizer: Any) -> None:
        """What changes between steps: rewiring, a fading share. Usually nothing."""

    def updating(self) -> list[Head]:
        """The heads in here that have a `rule`: itself, or what it wraps."""
        return [self] if hasattr(self, "rule") else []

    def tables(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (n, D) and biases (n,) of a head that has `pending`."""
        raise NotImplementedError

    def facts(self) -> dict[str, float]:
        """What a line of the training log says of this head beside the loss, since the last line."""
        return {}

    def served(self) -> Head:
        """The head that answers after training, and that a model saves: itself, or what a wrapper wraps."""
        return self

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that decide the shape, as JSON: they build a saved head again."""

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """A head of the same shape, its weights still to be loaded."""
        return cls(**settings)

    def check_views(self, views: Tensor) -> None:
        """Raises SettingError unless views are (B, n_views, dim)."""
        if views.dim() != 3 or views.shape[1:] != (self.n_views, self.dim):
            raise SettingError(
                f"views of shape {tuple(views.shape)}",
                wanted=f"(B, {self.n_views}, {self.dim}), as this {type(self).__name__} was made for",
                next_step="make head and encoder with the same width and number of views",
            )
