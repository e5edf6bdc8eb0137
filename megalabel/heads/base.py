"""The base class of all heads: views of a text in, a training loss or the top k labels out."""

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

# The views of all training texts (N, V, D) on the CPU and their labels; `positives.texts` (N,) says which training
# row each view belongs to. They are computed when the function is called.
TrainingEmbeddings = Callable[[], tuple[Tensor, Positives]]


class OptimizerStates(Protocol):
    """What a head sees of the optimizers after a step."""

    def state_of(self, parameter: Tensor) -> Mapping[str, Any]:
        """What an optimizer keeps of a parameter, moments for instance; empty where it keeps nothing."""


class Head(nn.Module, ABC):
    """Turns the views of a text into a training loss or the top k labels.

    A new head is one file: a subclass that sets the attributes, keeps what it learns as parameters (so that
    `state_dict` holds all of it), and writes `loss`, `topk` and `config`. Its docstring says over what the loss is
    summed or averaged, since learning rates depend on it. Working memory stays far below B × L.
    `megalabel.testing.check_head` holds for every head. To change a head's behavior, wrap it in another head
    instead of adding a flag.

    What a head can do beyond that it says by its base classes (`megalabel.heads.abilities`): `UpdatesInBackward`,
    `RowGradients`, `BindsLabels`.

    The hooks `refresh`, `after_step`, `settle`, `check_state` and `metrics` reach the heads inside of a head by
    themselves; an override calls `super()` unless it means to keep them out.

    Attributes:
        n_labels: L.
        dim: D, the width of a view.
        n_views: V, how many views of a text it reads.
        reduction: whether `loss` is a sum over the texts of the batch, or a mean over what it scores. The loop
            weights the micro-batches of a step accordingly.
        score_type: whether the scores of `topk` are logits or probabilities.
    """

    n_labels: int
    dim: int
    n_views: int = 1
    reduction: Reduction = "sum"
    score_type: ScoreType = "logit"

    @abstractmethod
    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The training loss of a batch: views (B, V, D) to a scalar."""

    @abstractmethod
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The best k labels of each text, ties to the lower label.

        Args:
            views: (B, V, D).
            k: labels per text, 1 or more.
            exclude: pairs of a text and a label that must not be among them.
            row_to_label: (L,) int64, a permutation: row r of this head is label row_to_label[r], in `exclude` and
                in the answer. None where rows are labels. `topk_by_rows` serves heads that cannot do it better.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The arguments that decide the shape, as JSON: `from_config` rebuilds a saved head from them."""

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """A head of the same shape, its weights still to be loaded.

        Args:
            config: what `config` returned.
            folder: the saved model's folder, with the files that `save_files` wrote; None where there is none.
        """
        return cls(**config)

    def save_files(self, folder: Path) -> None:
        """Writes what neither `config` nor `state_dict` can hold into the model's folder. Usually nothing."""
        for head in inner_heads(self):
            head.save_files(folder)

    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Called before step 0 and then every `Recipe.refresh_every` epochs: mining, clustering, choosing inputs.

        What it finds it keeps in buffers, so that a checkpoint holds it.
        """
        for head in inner_heads(self):
            head.refresh(embeddings)

    def after_step(self, step: int, optimizers: OptimizerStates | None) -> None:
        """Called after optimizer step `step`, counted from 0: rewiring, a fading weight. Usually nothing."""
        for head in inner_heads(self):
            head.after_step(step, optimizers)

    def settle(self) -> None:
        """Called before validation, before saving and after loading: label vectors, indexes. Usually nothing."""
        for head in inner_heads(self):
            head.settle()

    def check_state(self) -> None:
        """Called when saved weights were loaded: raises SettingError for indices that would lead out of a table.

        Floating-point weights are known to be finite by then.
        """
        for head in inner_heads(self):
            head.check_state()

    def metrics(self) -> dict[str, float]:
        """Numbers for a line of the training log, about the time since the line before.

        Names that several of the heads inside report are followed by the number of the head, from 0.
        """
        found = [head.metrics() for head in inner_heads(self)]
        names = [name for one in found for name in one]
        return {
            name if names.count(name) == 1 else f"{name} of part {i}": value
            for i, one in enumerate(found)
            for name, value in one.items()
        }

    def check_views(self, views: Tensor) -> None:
        """Raises SettingError unless views are (B, n_views, dim)."""
        if views.dim() != 3 or views.shape[1:] != (self.n_views, self.dim):
            raise SettingError(
                f"views of shape {tuple(views.shape)}",
                wanted=f"(B, {self.n_views}, {self.dim}), as this {type(self).__name__} was made for",
                next_step="make head and encoder with the same width and number of views",
            )


def inner_heads(module: nn.Module) -> list[Head]:
    """The heads directly inside of a module, not those inside of them."""
    found: list[Head] = []
    for child in module.children():
        found.extend([child] if isinstance(child, Head) else inner_heads(child))
    return found


def topk_by_rows(
    topk: Callable[[Positives | None], TopK], k: int, exclude: Positives | None, row_to_label: Tensor | None
) -> TopK:
    """The answer of a head that ranks its rows, in the names of labels.

    Ties between the last label returned and one left out go to the lower row, not to the lower label.

    Args:
        topk: ranks the rows: (excluded pairs of text and row) to the best k rows.
        k: labels per text.
        exclude: pairs of text and label.
        row_to_label: (L,) int64, a permutation; None where rows are labels.
    """
    if row_to_label is None:
        return topk(exclude)
    if exclude is not None:
        exclude = Positives.of(exclude.rows, row_to_label.argsort()[exclude.labels])
    found = topk(exclude)
    return best_of(torch.where(found.ids < 0, -1, row_to_label[found.ids]), found.scores, k)
