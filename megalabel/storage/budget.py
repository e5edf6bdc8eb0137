"""Limits what making a module from a stored configuration may cost, before its weights are read.

A configuration is a few numbers, and one wrong digit asks for terabytes or for a billion layers. The weights lie
in a file beside it, so that their size says what the module may take.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from megalabel.errors import FormatError

SPARE_BYTES = 1 << 28  # beside the weights, for parts that are made and dropped again, such as a decoder
SPARE_CALLS = 1 << 16
TIMES = 8  # what is made may be as many times as large as what is stored
_FACTORIES = {"empty", "zeros", "ones", "full", "rand", "randn", "randint", "arange", "linspace", "eye", "tensor"}


class Budget(TorchFunctionMode):
    """Within the block, the calling thread makes no more tensors than a file of `n_bytes` can fill.

    Args:
        n_bytes: of the stored weights.
        n_tensors: among them.

    Raises:
        FormatError: a tensor is asked for that is too large, or more calls of torch than a module that is stored
            in so many tensors needs.
    """

    def __init__(self, n_bytes: int, n_tensors: int) -> None:
        super().__init__()
        self._bytes = TIMES * n_bytes + SPARE_BYTES
        self._calls = 100 * n_tensors + SPARE_CALLS

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Counts a call of torch and what it makes, and passes it on."""
        self._calls -= 1
        if getattr(func, "__name__", "") in _FACTORIES:
            self._bytes -= 4 * _numbers(func.__name__, args, kwargs or {})
        if self._calls < 0 or self._bytes < 0:
            raise FormatError(
                "the configuration describes a module that is larger than its weights",
                wanted="the shape of the weights that are stored beside it",
            )
        return func(*args, **(kwargs or {}))


def check_whole_numbers(config: Any, most: int, where: Path, next_step: str) -> None:
    """FormatError for a whole number above `most` or below −`most`, anywhere in a configuration.

    Loops and numpy arrays are as long as these numbers say, which `Budget` does not see.
    """
    for value in _leaves(config):
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > most:
            raise FormatError(
                f"the configuration has the number {value:.3g}" if abs(value) < 1e300 else "a huge number",
                wanted=f"numbers up to {most:,}, which fit weights of this size",
                next_step=next_step,
                where=where,
            )


def _leaves(value: Any) -> Iterable[Any]:
    stack = [value]
    while stack:
        inside = stack.pop()
        if isinstance(inside, dict):
            stack.extend(inside.values())
        elif isinstance(inside, (list, tuple)):
            stack.extend(inside)
        else:
            yield inside


def _numbers(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    """How many numbers a factory of torch is asked for, at most."""
    size = kwargs.get("size", args)
    flat = [v for part in size for v in (part if isinstance(part, (list, tuple, torch.Size)) else (part,))]
    whole = [abs(v) for v in flat if isinstance(v, int) and not isinstance(v, bool)]
    if name in ("arange", "linspace", "tensor"):
        return max(whole, default=0)
    return math.prod(whole)
