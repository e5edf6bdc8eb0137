"""Plans of PyTorch's distributed checkpoints for tensors whose rows are divided among processes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import create_default_global_save_plan
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from megalabel.errors import FormatError


@dataclass(frozen=True)
class Rows:
    """The rows that one process holds of a tensor that is divided along its first dimension.

    Attributes:
        start: the first row.
        stop: the end of the rows; `start` where the process holds none.
        total: the rows of all processes.
    """

    start: int
    stop: int
    total: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Part:
    """A tensor of a checkpoint.

    Attributes:
        tensor: (n, …), what this process holds.
        rows: the place of its n rows in the tensor of all processes; None where every process holds all of it.
        writer: the process that writes a tensor that every process holds.
    """

    tensor: Tensor
    rows: Rows | None = None
    writer: int = 0

    @property
    def shape(self) -> torch.Size:
        """The shape of the tensor of all processes."""
        own = self.tensor.shape
        return own if self.rows is None else torch.Size((self.rows.total, *own[1:]))

    @property
    def chunk(self) -> ChunkStorageMetadata:
        """The place of this part in the tensor of all processes."""
        first = 0 if self.rows is None else self.rows.start
        offsets = (first, *(0 for _ in self.tensor.shape[1:])) if self.tensor.dim() else ()
        return ChunkStorageMetadata(torch.Size(offsets), self.tensor.shape)


class SaveParts(SavePlanner):
    """Each process writes its rows; one of them also writes what every process holds whole.

    rank: the number of this process.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def set_up_planner(
        self, state_dict: Mapping[str, Part], storage_meta: Any = None, is_coordinator: bool = False
    ) -> None:
        """Takes the parts of this process by name."""
        self._parts = state_dict

    def create_local_plan(self) -> SavePlan:
        """What this process writes."""
        return SavePlan([_write_item(name, part) for name, part in self._parts.items() if self._writes(part)])

    def _writes(self, part: Part) -> bool:
        if part.rows is None or part.rows.total == 0:
            return part.writer == self._rank
        return len(part.rows) > 0

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        """The plans of all processes; ValueError unless the rows of each tensor fit together."""
        plans, metadata = create_default_global_save_plan(all_plans)
        for name, entry in metadata.state_dict_metadata.items():
            _check_chunks(name, entry)
        return plans, metadata

    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        """The plan, unchanged."""
        return new_plan

    def resolve_data(self, write_item: WriteItem) -> Tensor | io.BytesIO:
        """The tensor to write."""
        return self._parts[write_item.index.fqn].tensor


class LoadParts(LoadPlanner):
    """Each process reads its rows, whichever processes have written them.

    Raises:
        FormatError: a tensor is missing, or has another shape or dtype.
    """

    def set_up_planner(
        self, state_dict: Mapping[str, Part], metadata: Metadata | None = None, is_coordinator: bool = False
    ) -> None:
        """Takes the parts to fill by name, and what the checkpoint holds."""
        assert metadata is not None
        self._parts, self._stored = state_dict, metadata.state_dict_metadata

    def create_local_plan(self) -> LoadPlan:
        """What this process reads."""
        items: list[ReadItem] = []
        for name, part in self._parts.items():
            stored = self._stored.get(name)
            if not isinstance(stored, TensorStorageMetadata):
                raise FormatError(f"the tensor {name!r} is missing", wanted="all tensors of this run")
            if stored.size != part.shape or stored.properties.dtype != part.tensor.dtype:
                raise FormatError(
                    f"the tensor {name!r} is {list(stored.size)} {stored.properties.dtype}",
                    wanted=f"{list(part.shape)} {part.tensor.dtype}",
                )
            if part.tensor.numel():
                items += create_read_items_for_chunk_list(name, stored, [part.chunk])
        return LoadPlan(items)

    def create_global_plan(self, global_plan: list[LoadPlan]) -> list[LoadPlan]:
        """The plans, unchanged."""
        return global_plan

    def finish_plan(self, central_plan: LoadPlan) -> LoadPlan:
        """The plan, unchanged."""
        return central_plan

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Not called: checkpoints hold tensors only."""
        raise NotImplementedError

    def resolve_tensor(self, read_item: ReadItem) -> Tensor:
        """The rows to fill."""
        tensor = self._parts[read_item.dest_index.fqn].tensor.detach()
        if not tensor.dim():
            return tensor
        return tensor[read_item.dest_offsets[0] : read_item.dest_offsets[0] + read_item.lengths[0]]

    def commit_tensor(self, read_item: ReadItem, tensor: Tensor) -> None:
        """Does nothing: `resolve_tensor` returns the tensor itself."""


def _write_item(name: str, part: Part) -> WriteItem:
    data = TensorWriteData(part.chunk, TensorProperties(dtype=part.tensor.dtype), part.shape)
    return WriteItem(MetadataIndex(name, part.chunk.offsets), WriteItemType.SHARD, tensor_data=data)


def _check_chunks(name: str, entry: Any) -> None:
    """ValueError unless the chunks of a tensor cover each of its rows once."""
    at = 0
    for chunk in _in_order(entry.chunks):
        if entry.size and chunk.offsets[0] != at:
            raise ValueError(f"rows of {name} that overlap or are missing, at row {at}")
        at += chunk.sizes[0] if entry.size else 0
    numbers = sum(math.prod(chunk.sizes) for chunk in entry.chunks)
    if numbers != math.prod(entry.size):
        raise ValueError(f"{numbers} of the {math.prod(entry.size)} numbers of {name}")


def _in_order(chunks: Iterable[ChunkStorageMetadata]) -> list[ChunkStorageMetadata]:
    return sorted(chunks, key=lambda chunk: (tuple(chunk.offsets), tuple(chunk.sizes)))
