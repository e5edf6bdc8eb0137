"""The files of distributed checkpoints: a safetensors file per process, and a manifest with a hash per tensor."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from megalabel.storage.files import sync
from megalabel.storage.shard_manifest import Shard, ShardFile, ShardManifest, StoredTensor
from megalabel.storage.tensors import NAMES, open_tensors, read_into, save_tensors


class ShardWriter(StorageWriter):
    """Writes the parts of one process to a file of its own, and the manifest in process 0.

    PyTorch's own writer stores its metadata as a pickle, which can run code when it is read, and no hashes.

    Args:
        folder: the folder, which the first process to come makes.
        facts: what the manifest of process 0 holds besides the tensors.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder, self.facts = folder, facts

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Does nothing: a writer writes one checkpoint."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Makes the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """The plan, unchanged."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """The plans with a name of a file for each process."""
        return [replace(plan, storage_data=file_name(rank, len(plans))) for rank, plan in enumerate(plans)]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Writes the file of this process, if it has something to write, and hashes each tensor."""
        results: list[WriteResult] = []
        if plan.items:
            path = self.folder / plan.storage_data
            tensors: dict[str, Any] = {item.index.fqn: planner.resolve_data(item) for item in plan.items}
            hashes = {name: hashlib.sha256() for name in ("", *tensors)}
            size = save_tensors(path, tensors, lambda name, piece: hashes[name].update(piece))
            sync(path)
            file = ShardFile(size, hashes[""].hexdigest())
            results = [
                WriteResult(item.index, size, (path.name, file, hashes[item.index.fqn].hexdigest()))
                for item in plan.items
            ]
        return _done(results)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Writes the manifest."""
        found = {result.index: result for some in results for result in some}
        tensors, files = {}, {}
        for name, entry in metadata.state_dict_metadata.items():
            assert isinstance(entry, TensorStorageMetadata)
            shards = []
            for chunk in sorted(entry.chunks, key=lambda chunk: tuple(chunk.offsets)):
                result = found[MetadataIndex(name, chunk.offsets)]
                file, written, digest = result.storage_data
                files[file] = written
                start, rows = (chunk.offsets[0], chunk.sizes[0]) if chunk.sizes else (0, 1)
                shards.append(Shard(file, start, rows, digest))
            tensors[name] = StoredTensor(NAMES[entry.properties.dtype], tuple(entry.size), tuple(shards))
        ShardManifest(tensors, files, self.facts).write(self.folder)
        sync(self.folder)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """False: a writer is made with its folder."""
        return False


class ShardReader(StorageReader):
    """Reads the rows that a process asks for, from the files of any number of processes.

    Args:
        folder: the folder, whose files are checked.
        stored: its manifest.
        next_step: for messages.
    """

    def __init__(self, folder: Path, stored: ShardManifest, next_step: str) -> None:
        self.folder, self._stored, self._next_step = folder, stored, next_step

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Does nothing: a reader reads one checkpoint."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """What the manifest says, as PyTorch's planners read it."""
        return Metadata({name: _entry(tensor) for name, tensor in self._stored.tensors.items()})

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the manifest is read."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """The plan, unchanged."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """The plans, unchanged."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Reads each range of rows into its tensor."""
        for item in plan.items:
            target = planner.resolve_tensor(item)
            path, first = self._place(item)
            direct = target.device.type == "cpu" and target.is_contiguous()
            rows = target if direct else torch.empty(target.shape, dtype=target.dtype)
            with open_tensors(path, self._next_step) as (file, header, start):
                read_into(file, start, header[item.storage_index.fqn], rows, first)
            if not direct:
                with torch.no_grad():
                    target.copy_(rows)
            planner.commit_tensor(item, target)
        return _done(None)

    def _place(self, item: ReadItem) -> tuple[Path, int]:
        """The file that holds some rows, and the first of them among those of the file."""
        start = item.storage_index.offset[0] if item.storage_index.offset else 0
        first = item.storage_offsets[0] if item.storage_offsets else 0
        shards = self._stored.tensors[item.storage_index.fqn].shards
        (shard,) = (one for one in shards if one.start == start and (one.rows or not item.lengths))
        return self.folder / shard.file, first

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """False: a reader is made with its folder."""
        return False


def file_name(rank: int, size: int) -> str:
    """The name of the file of one of `size` processes; ranks count from 0 in names as everywhere."""
    return f"rank-{rank:05}-of-{size:05}.safetensors"


def _entry(tensor: StoredTensor) -> TensorStorageMetadata:
    return TensorStorageMetadata(
        TensorProperties(dtype=tensor.torch_dtype), torch.Size(tensor.shape), list(_chunks(tensor))
    )


def _chunks(tensor: StoredTensor) -> Iterator[ChunkStorageMetadata]:
    for shard in tensor.shards:
        rest = tensor.shape[1:]
        offsets = (shard.start, *(0 for _ in rest)) if tensor.shape else ()
        yield ChunkStorageMetadata(torch.Size(offsets), torch.Size((shard.rows, *rest) if tensor.shape else ()))


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
