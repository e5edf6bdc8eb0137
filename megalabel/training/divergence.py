"""Detects divergence: losses or weights that are not finite or very large."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torch import nn

from megalabel.errors import DataError, SettingError
from megalabel.heads.abilities import StoresWeights, having
from megalabel.kernels.core.checks import DIVERGED
from megalabel.storage.largest import largest_of

GROWTH = 1e3  # a loss above this multiple of the first loss counts as diverged
LARGEST = 1e6  # a larger absolute weight counts as diverged; normal weights are many orders of magnitude smaller


class Diverged(DataError):
    """Training has diverged; its weights can no longer be used."""

    @classmethod
    def because(cls, found: str, next_step: str = "") -> Diverged:
        """The error for what was found; the run adds from which checkpoint to resume."""
        wanted = "a loss and weights of the same order as in the first steps"
        return cls(found, wanted=wanted, next_step=next_step or "lower the learning rates")


def check_loss(step: int, loss: float, first: float) -> None:
    """Raises Diverged if a loss is not finite, or more than `GROWTH` times the first loss of the run."""
    if not math.isfinite(loss):
        raise Diverged.because(f"the loss at step {step:,} is {loss}")
    if first > 0 and loss > GROWTH * first:
        raise Diverged.because(f"the loss at step {step:,} is {loss:.4g}, at the first step it was {first:.4g}")


def check_weights(step: int, modules: Mapping[str, nn.Module]) -> None:
    """Raises Diverged if a weight is not finite, or its absolute value above `LARGEST`; reads all weights once."""
    for name, module in modules.items():
        largest, broken = largest_of(module)
        largest = max(largest, *(part.largest_scaled() for part in having(module, StoresWeights)), 0.0)
        if broken:
            raise Diverged.because(f"after step {step:,} the tensor {name}.{broken} has NaN or infinite numbers")
        if largest > LARGEST:
            raise Diverged.because(f"after step {step:,} a weight of the {name} is {largest:.3g}")


@contextlib.contextmanager
def naming_checkpoint(newest: Callable[[Path], Path | None], last: Path) -> Iterator[None]:
    """A context in which errors about divergence say how to resume the run with lower learning rates.

    Args:
        newest: returns the last complete checkpoint in a folder.
        last: the folder of checkpoints.
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
            f"run the same command again with --lr-scale 0.1 (in Python: lr_scale=0.1): it resumes {where} "
            "with a tenth of the learning rates; or check the data for unusual texts",
        ) from error
