"""A linear layer between the encoder and a head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from megalabel.heads.base import Head, TrainingEmbeddings
from megalabel.heads.checks import check_arguments
from megalabel.heads.nested import built, described
from megalabel.heads.wrappers.base import Wrapper
from megalabel.types import Positives, TopK

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
}
_TEXTS = 4096  # texts projected at a time by `refresh`


class WithProjection(Wrapper):
    """Applies activation(A x + a) to the view before the head, from width D to that of the head.

    With few inputs per label, labels can separate more texts on a wide layer than on the encoder's own outputs
    (Spartex, NeurIPS 2024, trains a linear layer of width 4096 for Wiki10-31K; its predecessor, ECML 2023, one
    with ReLU). The activation is used in training and in prediction. The products are in autocast's dtype where it
    is on, else in float32; the head always gets float32. If the head's optimizer acts in the backward pass,
    `linear` needs an optimizer of its own.

    Args:
        head: the head to wrap, with one view; its `dim` is the width of the layer.
        dim: D, the width of the encoder's view.
        activation: "none" (Spartex), "relu" or "gelu".
        generator: random generator of the layer's initial weights, uniform in ±1/√D; None for torch's default.

    Raises:
        SettingError: the head has several views, or an argument is out of range.
    """

    uses_weights = True

    def __init__(
        self, head: Head, dim: int, *, activation: str = "none", generator: torch.Generator | None = None
    ) -> None:
        super().__init__(head)
        check_arguments(
            ("n_views", head.n_views, "a head of one view", head.n_views == 1),
            ("dim", dim, "1 or more", dim >= 1),
            ("activation", activation, ", ".join(ACTIVATIONS), activation in ACTIVATIONS),
        )
        self.dim, self.activation = dim, activation
        self.linear = nn.utils.skip_init(nn.Linear, dim, head.dim)
        with torch.no_grad():
            for tensor in (self.linear.weight, self.linear.bias):
                tensor.uniform_(-(dim**-0.5), dim**-0.5, generator=generator)

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The loss of the head: (B, 1, D) to a scalar."""
        return self.head.loss(self.projected(views), positives)

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels of the head: (B, 1, D) to ids and scores (B, k)."""
        return self.head.topk(self.projected(views), k, exclude=exclude, row_to_label=row_to_label)

    @torch.no_grad()
    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Refreshes the head with the projected views."""

        def projected() -> tuple[Tensor, Positives]:
            views, positives = embeddings()
            parts = [self.projected(part.to(self.linear.weight.device)).cpu() for part in views.split(_TEXTS)]
            return torch.cat(parts), positives

        self.head.refresh(projected)

    def projected(self, views: Tensor) -> Tensor:
        """What the head reads: (B, 1, D) to (B, 1, width of the layer) float32."""
        self.check_views(views)
        return ACTIVATIONS[self.activation](self.linear(views)).float()

    def config(self) -> dict[str, Any]:
        """The head, and the width and activation of the layer."""
        return {"head": described(self.head), "dim": self.dim, "activation": self.activation}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Makes a head of the same shape; its weights are still to be loaded."""
        return cls(built(config["head"], folder), config["dim"], activation=config["activation"])

    def extra_repr(self) -> str:
        """Returns the part of repr(head) inside the parentheses."""
        return f"dim={self.dim}, activation={self.activation}"
