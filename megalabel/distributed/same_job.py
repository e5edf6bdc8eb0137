"""Checks before the first step that all processes of a job do the same work in the same folder."""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalabel.distributed.agreement import together
from megalabel.distributed.failures import NotShared, ProcessesDiffer
from megalabel.distributed.objects import barrier, broadcast_object, gather_objects
from megalabel.distributed.world import World

PATIENCE = 5.0  # seconds until a file that one machine has written is seen by all; network file systems cache
SHOWN = 5  # differences in a message
_ABSENT = object()


def check_same_job(facts: dict[str, Any], world: World) -> None:
    """Raises ProcessesDiffer in all processes unless they have the same facts.

    Args:
        facts: what determines the result, as JSON: settings, data, versions; may be nested.
        world: the processes.
    """
    text = json.dumps(facts, sort_keys=True, default=str)
    if len(set(gather_objects(hashlib.sha256(text.encode()).hexdigest(), world))) == 1:
        return
    found = [json.loads(one) for one in gather_objects(text, world)]
    rank = next(r for r, one in enumerate(found) if one != found[0])
    names = list(_differences(found[0], found[rank]))
    shown = "; ".join(
        f"{name} = {_brief(there)}, but {_brief(first)} in process 0" for name, first, there in names[:SHOWN]
    )
    error = ProcessesDiffer(
        f"process {rank} has {shown}" + (f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else ""),
        wanted="the same settings, data and versions in every process",
        next_step="start the same command on every machine, with the same version of megalabel and the same data",
    )
    error.speaker = 0
    raise error


def check_shared(folder: Path, world: World) -> None:
    """Raises NotShared in all processes unless they see in `folder`, which process 0 has made, the same files."""
    name = broadcast_object(f".job-{secrets.token_hex(8)}", world)
    if world.size == 1:
        return
    if world.is_main:
        (folder / name).touch()
    barrier(world)
    try:
        together(world, lambda: _wait_for(folder, name))
    finally:
        if world.is_main:
            (folder / name).unlink(missing_ok=True)


def _wait_for(folder: Path, name: str) -> None:
    end = time.monotonic() + PATIENCE
    while not (folder / name).exists():
        if time.monotonic() > end:
            raise NotShared(
                f"the folder {folder} on {platform.node()} is not the one to which process 0 writes",
                wanted="one run folder for all processes, such as one on a network file system",
                next_step="give every process the same absolute --out on a shared disk",
            )
        time.sleep(0.05)


def _differences(first: Any, other: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The names of values that differ, with both values."""
    if isinstance(first, dict) and isinstance(other, dict):
        for name in {**first, **other}:
            pair = first.get(name, _ABSENT), other.get(name, _ABSENT)
            if pair[0] != pair[1]:
                yield from _differences(*pair, f"{at}{' ' * bool(at)}{name}")
    else:
        yield at, first, other


def _brief(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]}…"
