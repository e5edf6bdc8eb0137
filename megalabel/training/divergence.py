"""Finds a training that has diverged: losses that are not finite, or grow without end, and weights that do."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torch import nn

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core.checks import DIVERGED
from megalabel.storage.tensors import largest_of

GROWTH = 1e3  # times the first loss: a loss that is larger has diverged, though it is finite
LARGEST = 1e6  # absolute value of a weight; those of a training that learns stay many orders of magnitude below


class Diverged(DataError):
    """A training whose weights are of no use any more."""

    @classmethod
    def because(cls, found: str, next_step: str = "") -> Diverged:
        """The error for what was found; the run adds from where to go on."""
        wanted = "a loss and weights that stay near those of the first steps"
        return cls(found, wanted=wanted, next_step=next_step or "lower the learning rates")


def check_loss(step: int, loss: float, first: float) -> None:
    """Diverged for a loss that is not finite, or more than `GROWTH` times the first one of the run."""
    if not math.isfinite(loss):
        raise Diverged.because(f"the loss at step {step:,} is {loss}")
    if first > 0 and loss > GROWTH * first:
        raise Diverged.because(f"the loss at step {step:,} is {loss:.4g}, at the first step it was {first:.4g}")


def check_weights(step: int, modules: Mapping[str, nn.Module]) -> None:
    """Diverged for weights that are not finite, or larger than `LARGEST`; one pass over all of them."""
    for name, module in modules.items():
        largest, broken = largest_of(module)
        if broken:
            raise Diverged.because(f"after step {step:,} the tensor {name}.{broken} has NaN or infinite numbers")
        if largest > LARGEST:
            raise Diverged.because(f"after step {step:,} a weight of the {name} is {largest:.3g}")


@contextlib.contextmanager
def naming_checkpoint(newest: Callable[[Path], Path | None], last: Path) -> Iterator[None]:
    """Inside, an error about a training that has diverged says how the run goes on at lower rates.

    Args:
        newest: finds the last whole checkpoint in a folder.
        last: that folder.
    """
    try:
        yield
    except (Diverged, SettingError) as error:
        if isinstance(error, SettingError) and not error.found.startswith(DIVERGED):
            raise
        found = newest(last)
        where = f"from the checkpoint {found}" if found else "from the start, since there is no checkpoint"
        raise Diverged.because(
            error.found,
            f"give the same command again with --lr-scale 0.1 (in Python: lr_scale=0.1): it goes on {where}, "
            "with a tenth of the learning rates; or look for texts that are not as they should be",
        ) from error
