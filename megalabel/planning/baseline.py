"""What the interpreter and the libraries take, and how fast a machine is: measured by `--calibrate`, or typical.

Importing torch, transformers and numba and running a first step takes hundreds of MB, depending on what a recipe
imports. `megalabel plan --calibrate` measures it in a process that trains the same recipe on a few texts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from megalabel.planning.job import Job
from megalabel.version import __version__

# Measured in benchmarks/planner.py on one machine; used until this one is calibrated.
TYPICAL = {"bag": 450e6, "small": 620e6, "pretrained": 640e6}
PACKAGES = ("torch", "transformers", "numba", "numpy")
OF_THE_STACK = (
    "head_optimizer", "auxiliary", "projection_dim", "label_groups", "compile", "precision", "tokenizer",
    "dense_updates",
)  # fmt: skip

_UNSTORED: dict[str, dict[str, float]] = {}  # calibrations of this process that could not be stored


class Speed(NamedTuple):
    """Measured rates of a machine: products of matrices in FLOP/s, and memory in bytes/s."""

    flops: float
    memory: float


class Baseline(NamedTuple):
    """What was measured, or is typical.

    base: bytes of the interpreter and the libraries.
    speed: None where it was not measured.
    measured: whether it was measured on this machine.
    efficiency: the fraction of the floor's speed that a step reached in the calibration.
    """

    base: float
    speed: Speed | None = None
    measured: bool = False
    efficiency: float = 0.5


def stack_of(job: Job) -> str:
    """The kind of an encoder and all that decides which code is loaded, as a short hash."""
    options = {name: job.values.get(name) for name in OF_THE_STACK}
    options["projection_dim"] = bool(options["projection_dim"])
    options["checked_tree"] = bool(job.values.get("tree"))
    facts = [job.recipe, _kind(job), options, job.threads, *_versions()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def baseline_of(job: Job) -> Baseline:
    """What the calibration of this stack found on this machine, or what is typical."""
    stack = stack_of(job)
    found = _UNSTORED.get(stack, _stored().get(stack))
    try:
        if found is None:
            raise KeyError
        speed = Speed(float(found["flops"]), float(found["memory"]))
        return Baseline(float(found["base"]), speed, True, float(found["efficiency"]))
    except (TypeError, KeyError, ValueError):
        return Baseline(TYPICAL.get(_kind(job), TYPICAL["pretrained"]))


def keep(job: Job, base: float, speed: Speed, efficiency: float) -> Baseline:
    """Stores the result of a calibration for later plans or, where it cannot be stored, for this process."""
    stack = stack_of(job)
    found = {"base": base, "flops": speed.flops, "memory": speed.memory, "efficiency": efficiency}
    stored = {**_stored(), stack: found}
    try:
        path = store()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(stored, indent=1), encoding="utf-8")
        os.replace(temporary, path)
    except (OSError, RuntimeError):  # without a folder to write to, it holds for this command alone
        _UNSTORED[stack] = found
    return Baseline(base, speed, True, efficiency)


def store() -> Path:
    """The file of calibrations: in MEGALABEL_CACHE, XDG_CACHE_HOME or ~/.cache.

    Raises:
        RuntimeError: the user has no home folder, as in some containers.
    """
    own = os.environ.get("MEGALABEL_CACHE")
    folder = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "megalabel"
    return folder / "calibration.json"


def _stored() -> dict[str, Any]:
    try:
        found = json.loads(store().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RecursionError is a RuntimeError
        return {}
    return found if isinstance(found, dict) else {}


def _kind(job: Job) -> str:
    name = str(job.values["encoder"])
    return name if name in ("bag", "small") else "pretrained" if job.encoder.type == "bert" else job.encoder.type


def _versions() -> list[str]:
    found = [__version__, platform.python_version(), platform.machine()]
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(version(package))
    return found
