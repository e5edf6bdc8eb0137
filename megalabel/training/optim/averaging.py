"""Weights averaged over the steps of a run, which are validated and saved instead of the trained weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError


class WeightAverage:
    """A running average of all trained parameters: the mean of some steps, or an exponential moving average.

    The mean is stochastic weight averaging (Izmailov et al., UAI 2018), as used by LightXML. The average does not
    affect training. It takes one copy of each parameter from the first averaged step on. Buffers are not averaged.

    Args:
        decay: the decay of the exponential moving average, average ← decay · average + (1 − decay) · weight; None
            for the mean of all averaged steps.
        start: the first step after which weights are averaged, counted from 0.
        every: the number of steps between two averaged steps.

    Raises:
        SettingError: a number is out of range.
    """

    def __init__(self, decay: float | None = None, *, start: int = 0, every: int = 1) -> None:
        for name, value, wanted, fits in (
            ("decay", decay, "above 0 and below 1, or None", decay is None or 0 < decay < 1),
            ("start", start, "a step, 0 or more", start >= 0),
            ("every", every, "1 or more", every >= 1),
        ):
            if not fits:
                raise SettingError(f"{name} = {value}", wanted=wanted, next_step=f"correct {name}", where=name)
        self.decay, self.start, self.every = decay, start, every
        self.count = 0
        self.average: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, step: int, encoder: nn.Module, head: nn.Module) -> None:
        """Adds the weights after a step, counted from 0, to the average if the step is averaged."""
        if step < self.start or (step - self.start) % self.every:
            return
        self.count += 1
        for name, weight in _trained(encoder, head):
            if name not in self.average:
                self.average[name] = weight.detach().clone()
            else:
                share = 1 / self.count if self.decay is None else 1 - self.decay
                self.average[name].lerp_(weight.detach(), share)

    @contextlib.contextmanager
    def applied(self, encoder: nn.Module, head: nn.Module) -> Iterator[None]:
        """A context in which the modules have the averaged weights; no effect before the first averaged step."""
        self._swap(encoder, head)
        try:
            yield
        finally:
            self._swap(encoder, head)

    @torch.no_grad()
    def apply(self, encoder: nn.Module, head: nn.Module) -> None:
        """Replaces the weights of the modules by the averaged ones permanently."""
        for name, weight in _trained(encoder, head):
            if name in self.average:
                weight.copy_(self.average[name])

    @torch.no_grad()
    def _swap(self, encoder: nn.Module, head: nn.Module) -> None:
        for name, weight in _trained(encoder, head):
            if name in self.average:
                trained = weight.detach().clone()
                weight.copy_(self.average[name])
                self.average[name].copy_(trained)

    def state_dict(self) -> dict[str, object]:
        """The average so far and the number of steps in it."""
        return {"count": self.count, "average": self.average}

    def load_state_dict(self, state: dict[str, object], device: torch.device | str) -> None:
        """Loads the result of `state_dict`."""
        count, average = state["count"], state["average"]
        assert isinstance(count, int) and isinstance(average, dict)
        self.count, self.average = count, {name: tensor.to(device) for name, tensor in average.items()}


def _trained(encoder: nn.Module, head: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, module in (("encoder", encoder), ("head", head)):
        for key, parameter in module.named_parameters():
            if parameter.requires_grad:
                yield f"{name}.{key}", parameter
