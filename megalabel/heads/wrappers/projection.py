"""A linear layer between the encoder and a head, for heads whose labels listen to few inputs of a wide vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.heads.base import Embedded, Head
from megalabel.heads.nested import built, check_inside, described
from megalabel.heads.wrappers.base import Wrapper
from megalabel.types import Positives, TopK

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
}
_TEXTS = 4096  # widened at a time, where activations are kept beside the result


class WithIntermediate(Wrapper):
    """Widens the view before the head: activation(A x + a), from D to the head's own width.

    With few inputs a label, labels can tell more texts apart on a wide layer than on the encoder's own outputs
    (Spartex, NeurIPS 2024, trains a linear one of 4096 for Wiki10-31K; its predecessor, ECML 2023, one with ReLU).
    The activation is used in training and in prediction alike. Products are autocast's where it is on, else
    float32; the head always gets float32. Where the head's optimiser acts in the backward, `linear` wants
    one of its own.

    Args:
        head: what is wrapped, a head of one view; its `dim` is the layer's width.
        dim: D, the width of the encoder's view.
        activation: "none" (Spartex), "relu" or "gelu".
        generator: where the layer's first weights are drawn from, uniformly within ± 1/√D; None for torch's own.

    Raises:
        SettingError: a head of several views or one that does not stay after training, an argument out of range.
    """

    def __init__(
        self, head: Head, dim: int, *, activation: str = "none", generator: torch.Generator | None = None
    ) -> None:
        super().__init__(head)
        check_inside(head)
        for name, value, wanted, fits in (
            ("n_views", head.n_views, "a head of one view", head.n_views == 1),
            ("dim", dim, "1 or more", dim >= 1),
            ("activation", activation, ", ".join(ACTIVATIONS), activation in ACTIVATIONS),
        ):
            if not fits:
                raise SettingError(f"{name} = {value!r}", wanted=wanted, next_step="correct it", where=name)
        self.dim, self.activation = dim, activation
        self.linear = nn.utils.skip_init(nn.Linear, dim, head.dim)
        with torch.no_grad():
            for tensor in (self.linear.weight, self.linear.bias):
                tensor.uniform_(-(dim**-0.5), dim**-0.5, generator=generator)

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The head's: (B, 1, D) to a scalar."""
        return self.head.loss(self._widened(views), positives)

    @torch.no_grad()
    def topk(self, views: Tensor, k: int, exclude: Positives | None = None) -> TopK:
        """The head's: (B, 1, D) to labels and scores (B, k)."""
        return self.head.topk(self._widened(views), k, exclude)

    @torch.no_grad()
    def topk_named(self, views: Tensor, k: int, exclude: Positives | None, names: Tensor) -> TopK:
        """The head's."""
        return self.head.topk_named(self._widened(views), k, exclude, names)

    @torch.no_grad()
    def prepare(self, embedded: Embedded) -> None:
        """The head's, with widened views."""

        def widened() -> tuple[Tensor, Positives]:
            views, positives = embedded()
            parts = [self._widened(part.to(self.linear.weight.device)).cpu() for part in views.split(_TEXTS)]
            return torch.cat(parts), positives

        self.head.prepare(widened)

    def _widened(self, views: Tensor) -> Tensor:
        self.check_views(views)
        return ACTIVATIONS[self.activation](self.linear(views)).float()

    def settings(self) -> dict[str, Any]:
        """The head's, and the layer's width and activation."""
        return {"head": described(self.head), "dim": self.dim, "activation": self.activation}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """Of the same shape; weights still to be loaded."""
        return cls(built(settings["head"]), settings["dim"], activation=settings["activation"])

    def extra_repr(self) -> str:
        """What print(head) shows."""
        return f"dim={self.dim}, activation={self.activation}"
