"""AdamW whose moments take a byte per weight in place of four, by the package torchao."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from megalabel.errors import MissingExtra

SIGNED = {"exp_avg": True, "exp_avg_sq": False}  # the moments by their names, and whether they have a sign


def adamw_8bit(groups: list[dict[str, Any]], lr: float, betas: Sequence[float], eps: float) -> Optimizer:
    """AdamW with moments in 8 bits (Dettmers, Lewis, Shleifer and Zettlemoyer, ICLR 2022).

    A moment is stored as one of 256 values, scaled by the largest magnitude among 256 neighbors. Tensors of fewer
    than 4,096 numbers, or of a number that 256 does not divide, have moments in float32. torchao compiles the step
    by `torch.compile`, once for each shape, weight decay and β₁, so that the first step takes long.

    Returns:
        An optimizer whose learning rates are floats and whose `state_dict` has plain tensors: for each moment in
        8 bits `codes` (the shape of the weight) uint8 and `scale` (numbers / 256,) float32.

    Raises:
        MissingExtra: torchao is not installed.
    """
    beta1, beta2 = betas
    optimizer: Optimizer = _class()(groups, lr=lr, betas=(beta1, beta2), eps=eps)
    return optimizer


def is_8bit(optimizer: object) -> bool:
    """Whether an optimizer was made by `adamw_8bit`."""
    return isinstance(optimizer, Optimizer) and getattr(optimizer, "moments_in_8_bits", False)


@functools.cache
def _class() -> Callable[..., Any]:
    """The class of the optimizer, which exists only where torchao does."""
    try:
        with _quiet():
            from torchao.optim import AdamW8bit
            from torchao.optim.subclass_8bit import OptimState8bit
    except ImportError as error:
        raise MissingExtra(
            f"an optimizer with moments in 8 bits, and no package torchao that can be imported ({error})",
            wanted="torchao",
            next_step="run pip install 'megalabel[adamw8bit]', or use encoder_optimizer = adamw",
            where="encoder_optimizer",
        ) from error

    def from_tensors(name: str, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        codes, scale = value["codes"], value["scale"]
        block = codes.numel() // scale.numel()
        moment = OptimState8bit.zeros(codes.shape, SIGNED[name], block, codes.device, dtype=torch.float32)
        moment.codes.copy_(codes)
        moment.scale.copy_(scale)
        return moment

    class AdamW8Bit(AdamW8bit):  # type: ignore[misc]  # torchao has no annotations
        """See `adamw_8bit`."""

        moments_in_8_bits = True
        compiled = False  # whether a step was made, so that what the compiler warns of was said

        def add_param_group(self, param_group: dict[str, Any]) -> None:
            rate = float(param_group.get("lr", self.defaults["lr"]))
            super().add_param_group(param_group)
            self.param_groups[-1]["lr"] = rate

        def step(self, closure: Callable[[], Any] | None = None) -> Any:
            rates = [group["lr"] for group in self.param_groups]
            for group in self.param_groups:  # torchao wants tensors: another float would be compiled again
                group["lr"] = torch.tensor(group["lr"], dtype=torch.float32)
            try:
                with contextlib.nullcontext() if self.compiled else _quiet():
                    return super().step(closure)
            finally:
                self.compiled = True
                for group, rate in zip(self.param_groups, rates, strict=True):
                    group["lr"] = rate

        def state_dict(self) -> dict[str, Any]:
            found = super().state_dict()
            return {**found, "state": {i: _to_tensors(state) for i, state in found["state"].items()}}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            state = {
                i: {name: from_tensors(name, value) for name, value in one.items()}
                for i, one in state_dict["state"].items()
            }
            super().load_state_dict({**state_dict, "state": state})

    return AdamW8Bit


def _to_tensors(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a parameter, with a moment in 8 bits as the two plain tensors that change."""
    return {
        name: value if type(value) is Tensor else {"codes": value.codes, "scale": value.scale}
        for name, value in state.items()
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torchao and the compiler say of parts that are not used here, as GPU libraries on a CPU."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
