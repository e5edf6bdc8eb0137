"""Writes and reads checkpoints of several processes with PyTorch's engine, in the background and atomically."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from megalabel.distributed.agreement import together
from megalabel.distributed.checkpoint_files import ShardReader, ShardWriter
from megalabel.distributed.checkpoint_plan import LoadParts, Part, SaveParts
from megalabel.distributed.failures import as_error
from megalabel.distributed.objects import broadcast_object
from megalabel.distributed.world import TIMEOUT, World
from megalabel.errors import FormatError, MegalabelError
from megalabel.storage.files import sync
from megalabel.storage.moving import move
from megalabel.storage.shard_manifest import ShardManifest


class CheckpointSaver:
    """Saves checkpoints while the training goes on.

    `start` copies the tensors to the memory of the CPU, which is all that the training waits for; a thread writes
    the copy. The copy takes as much memory as this process's part of the checkpoint, and is kept for the next one.
    The processes exchange what they have written in a group of their own, so that they do not disturb the
    training's exchanges.

    Every process makes one at the same time, and calls `start` and `wait` at the same steps.

    Args:
        world: the processes, two or more.
        timeout: seconds that a process waits for the others.
    """

    def __init__(self, world: World, timeout: float = TIMEOUT) -> None:
        self._world = world
        self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
        self._copies: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(
        self, folder: Path, name: str, parts: Mapping[str, Part], facts: dict[str, Any], *, copy: bool = True
    ) -> None:
        """Waits for the checkpoint before, then starts writing the folder `name` in `folder`.

        A folder of this name that is there already is kept. When the new one is complete, everything else in
        `folder` is removed.

        Args:
            folder: where checkpoints are kept.
            name: of the checkpoint, the same in every process.
            parts: what this process holds of each tensor; the names are those of all processes.
            facts: for the manifest; those of process 0 are written.
            copy: False to write the tensors themselves and wait for it, where memory for a copy is lacking.
        """
        self.wait()
        token = broadcast_object(secrets.token_hex(8), self._world)
        new = folder / f".{name}.new-{token}"
        if copy:
            parts = {key: replace(part, tensor=self._copied(key, part.tensor)) for key, part in parts.items()}
        self._thread = threading.Thread(
            target=self._save, args=(folder / name, new, parts, facts), name="checkpoint", daemon=True
        )
        self._thread.start()
        if not copy:
            self.wait()

    def wait(self) -> None:
        """Waits until the checkpoint is complete; raises, in all processes, what has failed in one of them."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    @torch.no_grad()
    def _copied(self, name: str, tensor: Tensor) -> Tensor:
        kept = self._copies.get(name)
        if kept is None or kept.shape != tensor.shape or kept.dtype != tensor.dtype:
            kept = self._copies[name] = torch.empty(tensor.shape, dtype=tensor.dtype)
        return kept.copy_(tensor.detach())

    def _save(self, path: Path, new: Path, parts: Mapping[str, Part], facts: dict[str, Any]) -> None:
        try:
            with _first_error():
                save(
                    dict(parts),
                    storage_writer=ShardWriter(new, facts),
                    planner=SaveParts(self._world.rank),
                    process_group=self._group,
                )
            if self._world.is_main:
                publish(new, path)
        except BaseException as error:
            self._error = as_error(error, self._world.rank)
            if self._world.is_main:
                shutil.rmtree(new, ignore_errors=True)


def publish(new: Path, path: Path) -> None:
    """Gives a complete checkpoint its name, and removes everything else beside it."""
    if path.exists():
        shutil.rmtree(new, ignore_errors=True)
    else:
        move(new, path, path)
    sync(path.parent)
    for old in path.parent.iterdir():
        if old.name != path.name:
            shutil.rmtree(old, ignore_errors=True)


def load_parts(
    folder: Path, manifest: ShardManifest, parts: Mapping[str, Part], world: World, *, next_step: str
) -> None:
    """Checks a checkpoint and fills this process's parts, whichever number of processes has written it.

    Each file is read and compared with its hashes by one process, before any tensor is filled.

    Args:
        folder: the checkpoint.
        manifest: its manifest.
        parts: what to fill.
        world: the processes; one process needs no process group.
        next_step: for messages.

    Raises:
        DamagedShard: in all processes, if a file is missing or one of its bytes was changed.
        FormatError: in all processes, if a tensor is missing, or has another shape or dtype.
    """
    files = sorted(manifest.files)[world.rank :: world.size]
    together(world, lambda: manifest.check_files(folder, files, next_step=next_step))
    try:
        with _first_error(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is")  # one process needs none
            load(
                dict(parts),
                storage_reader=ShardReader(folder, manifest, next_step),
                planner=LoadParts(),
                no_dist=world.size == 1,
            )
    except FormatError as error:
        if error.where is not None:
            raise
        again = FormatError(error.found, wanted=error.wanted, next_step=next_step, where=folder)
        again.process, again.speaker = error.process, error.speaker
        raise again from error


@contextlib.contextmanager
def _first_error() -> Iterator[None]:
    """Raises what the first process has raised, in place of PyTorch's exception, which is no `Exception`."""
    try:
        yield
    except CheckpointException as raised:
        rank, (error, _) = min(raised.failures.items())
        error = as_error(error, rank)
        if isinstance(error, MegalabelError):
            error.speaker = 0
            raise error from None
        raise RuntimeError(f"process {rank}: {error!r}") from raised
