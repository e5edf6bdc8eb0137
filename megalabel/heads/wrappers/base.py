"""`Wrapper`, the base class of heads around another head."""

from __future__ import annotations

from torch import Tensor

from megalabel.heads.base import Head
from megalabel.types import Positives, TopK


class Wrapper(Head):
    """Forwards to the head that it wraps. A subclass overrides what it changes, and implements `config`.

    The hooks reach the inner head by default (see `Head`), and optimizers find its abilities inside the wrapper.

    Args:
        head: the head to wrap.
    """

    uses_weights = True  # as far as the inner head does, which is asked separately

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head
        self.n_labels, self.dim, self.n_views = head.n_labels, head.dim, head.n_views
        self.reduction, self.score_type, self.loss_name = head.reduction, head.score_type, head.loss_name

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The loss of the head."""
        return self.head.loss(views, positives)

    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels of the head."""
        return self.head.topk(views, k, exclude=exclude, row_to_label=row_to_label)
