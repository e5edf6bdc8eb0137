"""`Head`, the base class of heads: views (B, V, D) to a training loss or the top k labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.kernels.sparse.merge_topk import best_of
from megalabel.types import Positives, Reduction, ScoreType, TopK

# Computes the views of all training texts (N, V, D) on the CPU, and their labels; `positives.texts` (N,) is the
# training row of each view.
TrainingEmbeddings = Callable[[], tuple[Tensor, Positives]]


class OptimizerStates(Protocol):
    """The part of the optimizers that a head may read after a step."""

    def state_of(self, parameter: Tensor) -> Mapping[str, Any]:
        """The optimizer state of a parameter, such as its moments; empty if there is none."""


class Head(nn.Module, ABC):
    """Maps the views of a text to a training loss or to the top k labels.

    A new head is one file: a subclass that sets the attributes, stores what it learns as parameters (so that
    `state_dict` contains all of it), and implements `loss`, `topk` and `config`. Its docstring states over what
    the loss is summed or averaged, since learning rates depend on it. Its working memory must stay far below B ×
    L. `megalabel.testing.check_head` tests any head. To change the behavior of a head, wrap it in another head
    instead of adding a flag.

    Optional abilities are base classes in `megalabel.heads.abilities`: `UpdatesInBackward`, `RowGradients`,
    `LabelPrior` and `BindsLabels`.

    The hooks `refresh`, `after_step`, `settle`, `check_state` and `metrics` are also called on inner heads by
    default; an override calls `super()` to keep that.

    Attributes:
        n_labels: L.
        dim: D, the width of a view.
        n_views: V, the number of views per text.
        reduction: whether `loss` is a sum over the texts of the batch or a mean. The training loop weights the
            micro-batches of a step accordingly.
        score_type: whether the scores of `topk` are logits or probabilities.
        loss_name: the loss that logits belong to: the sigmoid of one is a probability for "bce" alone.
        uses_weights: whether `loss` multiplies the loss of each text by its factor in `positives.weights`, where
            that is not None. Training on texts with weights refuses a head that does not. It must be declared by
            the class that defines `loss`; a subclass with another `loss` declares it again.
        replicated: the names of tensors with dimensions that are not those of labels.
    """

    n_labels: int
    dim: int
    n_views: int = 1
    reduction: Reduction = "sum"
    score_type: ScoreType = "logit"
    loss_name: str = "bce"
    uses_weights: bool = False
    replicated: frozenset[str] = frozenset()

    @abstractmethod
    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The training loss of a batch: views (B, V, D) to a scalar."""

    @abstractmethod
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels of each text; ties go to the lower label id.

        Args:
            views: (B, V, D).
            k: labels per text, 1 or more.
            exclude: pairs of text and label that are left out of the ranking.
            row_to_label: (L,) int64, a permutation: row r of this head belongs to label row_to_label[r], in
                `exclude` and in the result. None where row r is label r. A head without a faster implementation
                can use `topk_by_rows`.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The arguments that determine the shape, as JSON: `from_config` rebuilds a saved head from them."""

    def description(self) -> tuple[type[Head], dict[str, Any]]:
        """The class and the config from which a saved model is built again: those of this head by default."""
        return type(self), self.config()

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Makes a head of the same shape; its weights are still to be loaded.

        Args:
            config: the result of `config`.
            folder: the saved model's folder with the files that `save_files` wrote; None if there is none.
        """
        return cls(**config)

    def save_files(self, folder: Path) -> None:
        """Writes what neither `config` nor `state_dict` can hold into the model's folder; by default nothing."""
        for head in inner_heads(self):
            head.save_files(folder)

    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Called before step 0 and then every `Recipe.refresh_every` epochs, for mining or clustering.

        Results must be stored in buffers, so that checkpoints contain them.
        """
        for head in inner_heads(self):
            head.refresh(embeddings)

    def after_step(self, step: int, optimizers: OptimizerStates | None) -> None:
        """Called after optimizer step `step`, counted from 0, for example to rewire; by default does nothing."""
        for head in inner_heads(self):
            head.after_step(step, optimizers)

    def settle(self) -> None:
        """Called before validation and saving and after loading, for example to encode label vectors."""
        for head in inner_heads(self):
            head.settle()

    def check_state(self) -> None:
        """Called when saved weights were loaded: raises SettingError for indices that would lead out of a table.

        Floating-point weights are known to be finite by then.
        """
        for head in inner_heads(self):
            head.check_state()

    def metrics(self) -> dict[str, float]:
        """Values for a line of the training log, for the time since the previous line.

        Names that several inner heads report are followed by the number of the head, counted from 0.
        """
        found = [head.metrics() for head in inner_heads(self)]
        names = [name for one in found for name in one]
        return {
            name if names.count(name) == 1 else f"{name} of part {i}": value
            for i, one in enumerate(found)
            for name, value in one.items()
        }

    def check_views(self, views: Tensor) -> None:
        """Raises SettingError unless views have the shape (B, n_views, dim)."""
        if views.dim() != 3 or views.shape[1:] != (self.n_views, self.dim):
            raise SettingError(
                f"views of shape {tuple(views.shape)}",
                wanted=f"(B, {self.n_views}, {self.dim}) for this {type(self).__name__}",
                next_step="make head and encoder with the same width and number of views",
            )


def inner_heads(module: nn.Module) -> list[Head]:
    """The heads directly inside a module, without the heads inside of those."""
    found: list[Head] = []
    for child in module.children():
        found.extend([child] if isinstance(child, Head) else inner_heads(child))
    return found


def uses_weights(head: Head) -> bool:
    """Whether the class that defines the head's `loss`, or one derived from it, declares `uses_weights`."""
    for cls in type(head).__mro__:
        if "uses_weights" in vars(cls):
            return bool(vars(cls)["uses_weights"])
        if "loss" in vars(cls):
            return False
    return False


def topk_by_rows(
    topk: Callable[[Positives | None], TopK], k: int, exclude: Positives | None, row_to_label: Tensor | None
) -> TopK:
    """Implements `row_to_label` for a head that ranks its rows.

    Ties between the last label returned and one left out go to the lower row, not to the lower label.

    Args:
        topk: ranks the rows: (excluded pairs of text and row) to the k best rows.
        k: labels per text.
        exclude: pairs of text and label.
        row_to_label: (L,) int64, a permutation; None where row r is label r.
    """
    if row_to_label is None:
        return topk(exclude)
    if exclude is not None:
        exclude = Positives.from_pairs(exclude.rows, row_to_label.argsort()[exclude.labels])
    found = topk(exclude)
    return best_of(torch.where(found.ids < 0, -1, row_to_label[found.ids]), found.scores, k)
