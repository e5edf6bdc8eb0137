"""A head around another: what it does not change, it passes on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from megalabel.heads.base import Embedded, Head
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.types import Positives, TopK


class Wrapper(Head):
    """Holds `head` and does as it does. A subclass overrides what it changes, and writes `settings`.

    It has `pending` where the head has it, so that a `RowOptimizer` reaches through; optimisers that act in the
    backward find the head by `updating`.

    Args:
        head: what is wrapped.
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head
        self.n_labels, self.dim, self.n_views, self.averaged = head.n_labels, head.dim, head.n_views, head.averaged
        self.gives = head.gives

    @property
    def pending(self) -> list[list[TableGradient]] | None:
        """The head's; AttributeError where it has none."""
        return self.head.pending

    @pending.setter
    def pending(self, pending: list[list[TableGradient]] | None) -> None:
        self.head.pending = pending

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The head's."""
        return self.head.loss(views, positives)

    def topk(self, views: Tensor, k: int, exclude: Positives | None = None) -> TopK:
        """The head's."""
        return self.head.topk(views, k, exclude)

    def topk_named(self, views: Tensor, k: int, exclude: Positives | None, names: Tensor) -> TopK:
        """The head's."""
        return self.head.topk_named(views, k, exclude, names)

    def prepare(self, embedded: Embedded) -> None:
        """The head's."""
        self.head.prepare(embedded)

    def after_step(self, step: int, optimizer: Any) -> None:
        """The head's."""
        self.head.after_step(step, optimizer)

    def updating(self) -> list[Head]:
        """The head's."""
        return self.head.updating()

    def tables(self) -> list[tuple[Tensor, Tensor]]:
        """The head's."""
        return self.head.tables()

    def facts(self) -> dict[str, float]:
        """The head's."""
        return self.head.facts()
