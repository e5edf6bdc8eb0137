"""`Plan`: the settings of a training that fit into a memory, and what fits where the user's settings do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from megalabel.errors import SettingError
from megalabel.planning.amounts import shown
from megalabel.planning.baseline import Baseline, baseline_of
from megalabel.planning.components import Component, components_of, peak
from megalabel.planning.job import Job
from megalabel.planning.timing import floor

SMALLEST = 4  # texts of a micro-batch
NARROWER = 3  # suggestions
SAME_RESULT = {"accumulation_steps", "gradient_checkpointing", "tables"}  # options that keep the gradient
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


def plan(
    job: Job, memory: int | None = None, given: frozenset[str] = frozenset(), *, change: bool = False
) -> Plan:
    """The fastest settings whose peak, and a margin of 3%, fit into `memory`; the job's own without a limit.

    Args:
        job: the training.
        memory: bytes; None for no limit.
        given: names of options that the user has set, which are not changed.
        change: whether options that change the result are chosen too where nothing else fits, as by `nearest`.

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
        found_ways = nearest(job, memory, given, fixed=given) if change else []
        if not found_ways:
            raise _too_small(job, memory, given, base)
        best = Plan(job.having(**found_ways[0]), base, found_ways[0])
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
    options = [as_arguments(values) for values in nearest(job, memory, given)]
    needed = f"--memory {int(least.peak * (1 + MARGIN) / 2**20) + 1}MiB"
    step = f"these settings fit: {'; or '.join(options)}" if options else f"give it {needed}"
    return SettingError(found, wanted=wanted, next_step=step, where="memory")


def nearest(
    job: Job, memory: int, given: frozenset[str] = frozenset(), fixed: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """Up to three ways to change options so that the training fits, the one that changes the least first.

    Tried are narrower numbers in the label layer; its tables on disk; other single options; both together, where
    none of them is enough; and a smaller encoder. Each way is complete: with these values it fits as it is.

    Args:
        job, memory, given: as for `plan`; the options of `given` may be changed by a way that names them.
        fixed: names of options that no way changes.
    """
    base = baseline_of(job)

    def first(changes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        fitting = (_fitting(job, memory, given, base, change) for change in changes if not fixed & change.keys())
        return list(islice((values for values in fitting if values is not None), 1))

    narrower, others = [*_narrower(job)], [[*of_one] for of_one in _others(job)]
    # On disk a step may take many times as long, so that only the user chooses it where narrower numbers fit.
    on_disk = [{"tables": "disk"}] if job.can_be_on_disk and not job.on_disk else list[dict[str, Any]]()
    found = [values for changes in (narrower, on_disk, *others) for values in first(changes)]
    if not found:
        together = narrower[-1] if narrower else {}
        steps = []
        for of_one in others:
            steps += [{**together, **change} for change in of_one]
            together = steps[-1] if steps else together
        found = first(steps)
    found += first({"encoder": name} for name in ("minilm", "bag") if _smaller(name, job))
    return found[:NARROWER]


def _fitting(
    job: Job, memory: int, given: frozenset[str], base: Baseline, change: dict[str, Any]
) -> dict[str, Any] | None:
    changed = job.having(**change)
    for values in _free(changed, given | change.keys()):
        if fits(Plan(changed.having(**values), base, values), memory):
            return {**change, **values}
    return None


def _narrower(job: Job) -> Iterator[dict[str, Any]]:
    """Narrower weights and optimizer state of the label layer, each with what goes before."""
    values, change = job.values, dict[str, Any]()
    if values.get("dense_updates"):  # AdamW of every row, with weights in float32
        return
    if values.get("head_optimizer") in ("adamw", "adam"):
        if job.head != "dense":
            yield {"head_optimizer": "adagrad"}
        change = {"head_optimizer": "sgd"}  # which narrow weights need
        yield change
    for name in ("bfloat16", "float8"):
        if values.get("weights") == "float32" or (values.get("weights") == "bfloat16" and name == "float8"):
            change = {**change, "weights": name}
            yield change
    if values.get("head_momentum") and {**values, **change}.get("head_optimizer", "sgd") == "sgd":
        if values.get("momentum_dtype") == "float32":
            yield {**change, "momentum_dtype": "bfloat16"}
        yield {**change, "head_momentum": 0.0}


def _others(job: Job) -> Iterator[Iterator[dict[str, Any]]]:
    """Smaller values of batch size, fan-in and length, each from the largest on."""
    for name, value, least in (
        ("batch_size", job.batch, 1),
        ("fan_in", int(job.values.get("fan_in", 0)) if job.head == "sparse" else 0, 8),
        ("max_length", job.length, 8),
    ):
        yield ({name: value >> n} for n in range(1, value.bit_length()) if value >> n >= least)


def _smaller(name: str, job: Job) -> bool:
    return not job.encoder.is_bag and job.values["encoder"] != name


def as_arguments(values: Mapping[str, Any]) -> str:
    """The values of options as a command line."""
    return " ".join(_flag(*item) for item in values.items())


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
