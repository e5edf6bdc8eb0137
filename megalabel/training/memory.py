"""The memory of a run: the prediction, what the process takes in each phase, and how freed memory is returned."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megalabel.errors import SettingError
from megalabel.planning.job import Data, Job
from megalabel.planning.plan import Plan, plan
from megalabel.training.log import peaks

if TYPE_CHECKING:
    import torch

    from megalabel.data.corpus import Corpus
    from megalabel.training.recipe import Recipe

LARGE = 1 << 20  # bytes of a block that is returned to the system as soon as it is freed
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3) in glibc


def return_freed_memory() -> bool:
    """Makes the C library return large blocks to the system at once; whether it does.

    By default glibc keeps freed blocks of up to 32 MB, and their holes add up to a third of the activations to the
    peak of a transformer, depending on the order in which they were freed. Returning them costs a page fault for
    each page that is used again.
    """
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):  # not every C library has it
        library = ctypes.CDLL(None)
        return bool(library.mallopt(M_MMAP_THRESHOLD, LARGE) and library.mallopt(M_TRIM_THRESHOLD, LARGE))
    return False


def sizes_of(corpus: Corpus) -> Data:
    """The sizes of a data set, as a plan takes them."""
    train = corpus.train
    texts, names, pairs = train.texts.n_bytes, corpus.label_texts.n_bytes, int(train.labels.nnz)
    return Data(corpus.n_labels, len(train), texts, names, pairs)


def predicted(recipe: Recipe, device: str, threads: int) -> Plan | None:
    """The plan of a recipe as it is; None on a GPU, and for what the planner does not know."""
    if device != "cpu" or not recipe.arguments:
        return None
    try:
        return plan(Job.of(recipe.name, recipe.arguments, sizes_of(recipe.data), threads))
    except (SettingError, KeyError, TypeError, ValueError):
        return None


def resident_mb() -> float:
    """The memory that the process takes now, in MB (10⁶ bytes); 0 where the system does not say, as on macOS."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def timeline(
    recipe: Recipe, device: torch.device, threads: int
) -> tuple[Plan | None, Callable[..., dict[str, Any]]]:
    """The plan of a run that begins, see `predicted`, and a function of a phase that makes a line of its timeline.

    The peak of a GPU starts again, so that it does not count what the process has done before.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found = predicted(recipe, device.type, threads)
    return found, functools.partial(moment, found=found, device=device)


def moment(phase: str, found: Plan | None, device: torch.device) -> dict[str, Any]:
    """A line of the timeline: the phase, the memory now and at its peak, and each predicted component, in MB."""
    facts: dict[str, Any] = {"phase": phase}
    if resident := resident_mb():
        facts["rss_mb"] = round(resident, 1)
    facts |= finished(found, device)
    if found is not None:
        facts["predicted_mb"] = {name: round(size / 1e6, 6) for name, size in found.facts().items()}
    return facts


def finished(found: Plan | None, device: torch.device) -> dict[str, float]:
    """The measured peaks of the process and the device and, where there is a plan, the predicted one, in MB."""
    measured = peaks(device)
    return measured if found is None else {**measured, "predicted_peak_mb": round(found.peak / 1e6, 1)}
