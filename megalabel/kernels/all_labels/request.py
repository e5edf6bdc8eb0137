"""What a backward pass over labels should compute, and what it returns, for the dense and the sparse layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from megalabel.kernels.updates.rule import ONLY_PART, StepContext, UpdateRule

Wants = tuple[bool, bool, bool]  # which gradients are wanted: of embedding, weight and bias


class Request(NamedTuple):
    """What a backward pass should compute.

    Attributes:
        wants: which gradients are wanted: of embedding, weight and bias.
        scale: a factor of the gradient of the embedding.
        weight_scale: a factor of the gradients of weight and bias.
        rule: applies the gradients of weight and bias, which are then not returned; None to return them.
        step: the context of the rule.
        text_weights: (B,), the factors of the texts' losses; None for 1 each.
    """

    wants: Wants
    scale: float = 1.0
    weight_scale: float = 1.0
    rule: UpdateRule | None = None
    step: StepContext = ONLY_PART
    text_weights: Tensor | None = None

    @classmethod
    def of_loss(
        cls,
        wants: Wants,
        upstream: float,
        scale: float,
        rule: UpdateRule | None,
        step: StepContext,
        text_weights: Tensor | None = None,
    ) -> Request:
        """The request for a loss times `scale`; a rule gets gradients without the loss scale."""
        total = upstream * scale
        return cls(wants, total, total if rule is None else total / step.loss_scale, rule, step, text_weights)

    def prepare(self, weight: Tensor, bias: Tensor | None) -> None:
        """Prepares the rule, if there is one, for a micro-batch."""
        if self.rule is not None:
            self.rule.prepare(*learning(weight, bias, self.wants), self.step)


@dataclass
class Gradients:
    """The gradients that a pass returns; None for those that are not wanted or that a rule has applied.

    embedding: of the shape of the pass's x, (B, D) or transposed (D, B). weight, bias: of their parameters'
    shapes.
    """

    embedding: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None

    @classmethod
    def empty_like(cls, weight: Tensor | None, bias: Tensor | None) -> Gradients:
        """Allocates gradients of weight and bias, if they are given."""
        return cls(
            weight=None if weight is None else torch.empty_like(weight),
            bias=None if bias is None else torch.empty_like(bias),
        )


def learning(weight: Tensor, bias: Tensor | None, wants: Wants) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias; None for one whose gradient is not wanted, so that a rule does not change it."""
    return weight if wants[1] else None, bias if wants[2] else None
