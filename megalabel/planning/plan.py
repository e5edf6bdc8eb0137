"""`Plan`: the settings of a training that fit into a memory, and what fits where the user's settings do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from megalabel.errors import SettingError
from megalabel.planning.amounts import shown
from megalabel.planning.baseline import Baseline, baseline_of
from megalabel.planning.components import Component, components_of, peak
from megalabel.planning.job import Job
from megalabel.planning.timing import floor

SMALLEST = 4  # texts of a micro-batch
NARROWER = 3  # suggestions
MARGIN = 0.03  # of the prediction, which is left free


@dataclass(frozen=True)
class Plan:
    """A training with the settings chosen for it.

    job: the job with these settings.
    base: interpreter, libraries and speed.
    chosen: the values of options that the plan chose, by name.
    """

    job: Job
    base: Baseline
    chosen: dict[str, Any]

    @property
    def components(self) -> list[Component]:
        """The components of its memory."""
        return components_of(self.job, self.base.base)

    @property
    def peak(self) -> float:
        """The bytes of its peak."""
        return peak(self.components)

    def facts(self) -> dict[str, float]:
        """The bytes of each component by name, as a run logs them in MB."""
        found: dict[str, float] = {}
        for part in self.components:
            if part.n_bytes:
                found[part.name] = max(found.get(part.name, 0.0), part.n_bytes)
        return found


def plan(job: Job, memory: int | None = None, given: frozenset[str] = frozenset()) -> Plan:
    """The fastest settings whose peak, and a margin of 3%, fit into `memory`; the job's own without a limit.

    Args:
        job: the training.
        memory: bytes; None for no limit.
        given: names of options that the user has set, which are not changed.

    Raises:
        SettingError: nothing fits; the message names the nearest settings that do.
    """
    base = baseline_of(job)
    best: Plan | None = None
    for values in _free(job, given) if memory is not None else ({},):
        changed = job.having(**values) if values else job
        found = Plan(changed, base, values)
        if memory is None:
            return found
        # A lower time wins, the first among equals, which changes the least.
        if fits(found, memory) and (best is None or floor(changed) < 0.999 * floor(best.job)):
            best = found
    if best is None:
        assert memory is not None
        raise _too_small(job, memory, given, base)
    return best


def fits(found: Plan, memory: float) -> bool:
    """Whether the peak and its margin are within the memory."""
    return found.peak * (1 + MARGIN) <= memory


def _free(job: Job, given: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Values of the options that change the memory but not the result, those of the job first."""
    declared = job.values
    checkpointing: tuple[bool, ...] = (bool(declared.get("gradient_checkpointing", False)),)
    if "gradient_checkpointing" not in given and not job.encoder.is_bag and not checkpointing[0]:
        checkpointing = (False, True)
    parts = [job.parts]
    if "accumulation_steps" not in given:
        while job.batch // (parts[-1] * 2) >= min(SMALLEST, job.batch):
            parts.append(parts[-1] * 2)
    for again in checkpointing:
        for n in parts:
            values: dict[str, Any] = {}
            if n != job.parts:
                values["accumulation_steps"] = n
            if again != checkpointing[0]:
                values["gradient_checkpointing"] = again
            yield values


def _too_small(job: Job, memory: int, given: frozenset[str], base: Baseline) -> SettingError:
    least = min((Plan(job.having(**v), base, v) for v in _free(job, given)), key=lambda p: p.peak)
    wanted = f"at least {shown(least.peak * (1 + MARGIN))} for these settings"
    if base.base * (1 + MARGIN) > memory:
        wanted = f"more than {shown(base.base)}, which Python and the libraries take"
    found = f"{shown(memory)} of memory, where this training needs {shown(least.peak)}"
    options = [" ".join(_flag(*item) for item in values.items()) for values in nearest(job, memory, given)]
    needed = f"--memory {int(least.peak * (1 + MARGIN) / 2**20) + 1}MiB"
    step = f"these settings fit: {'; or '.join(options)}" if options else f"give it {needed}"
    return SettingError(found, wanted=wanted, next_step=step, where="memory")


def nearest(job: Job, memory: int, given: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Up to three changes of single options, or else one of several, with which the training fits.

    Each is complete: with these values for options it fits as it is.
    """
    base, found = baseline_of(job), []
    changes = list(_changes(job))
    for change in changes:
        if (values := _fitting(job, memory, given, base, change)) is not None:
            found.append(values)
    if not found:
        together: dict[str, Any] = {}
        for change in changes:
            together = {**together, **change}
            if (values := _fitting(job, memory, given, base, together)) is not None:
                found.append(values)
                break
    unique = [values for i, values in enumerate(found) if values.keys() not in [f.keys() for f in found[:i]]]
    return unique[:NARROWER]


def _fitting(
    job: Job, memory: int, given: frozenset[str], base: Baseline, change: dict[str, Any]
) -> dict[str, Any] | None:
    changed = job.having(**change)
    for values in _free(changed, given | change.keys()):
        if fits(Plan(changed.having(**values), base, values), memory):
            return {**change, **values}
    return None


def _changes(job: Job) -> Iterator[dict[str, Any]]:
    """Changes that alter the training, from the least to the greatest."""
    values = job.values
    for name in ("bfloat16", "float8"):
        if values.get("weights") == "float32":
            yield {"weights": name}
    if values.get("head_optimizer") == "sgd" and values.get("head_momentum"):
        yield {"head_momentum": 0.0}
    if values.get("head_optimizer") == "adamw" and not values.get("dense_updates"):
        yield {"head_optimizer": "sgd"}
    size = job.batch // 2
    while size >= 1:
        yield {"batch_size": size}
        size //= 2
    fan_in = int(values.get("fan_in", 0)) // 2
    while job.head == "sparse" and fan_in >= 8:
        yield {"fan_in": fan_in}
        fan_in //= 2
    length = job.length // 2
    while length >= 8:
        yield {"max_length": length}
        length //= 2
    for name in ("minilm", "bag"):
        if not job.encoder.is_bag and values["encoder"] != name:
            yield {"encoder": name}


def _flag(name: str, value: Any) -> str:
    flag = "--" + name.replace("_", "-")
    return (
        flag
        if value is True
        else f"--no-{flag[2:]}"
        if value is False
        else f"{flag} {value:g}"
        if isinstance(value, float)
        else f"{flag} {value}"
    )
