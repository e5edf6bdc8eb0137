"""Weights that stay in the file of a model: processes of one machine share their memory.

Pages are read when they are first used and belong to the system, which can drop them again. Writing to a weight
copies its page for this process; the file never changes.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor, nn

LEAST = 1 << 20  # bytes; smaller tensors are read into memory
_ON: ContextVar[bool] = ContextVar("weights stay in their files", default=False)


@contextlib.contextmanager
def weights_mapped() -> Iterator[None]:
    """Within it, models that are loaded on the CPU keep their large weights in their files."""
    before = _ON.set(True)
    try:
        yield
    finally:
        _ON.reset(before)


def are_weights_mapped() -> bool:
    """Whether models are loaded within `weights_mapped`."""
    return _ON.get()


def map_large(module: nn.Module, file: BinaryIO, entries: Mapping[str, Mapping[str, Any]], start: int) -> set[str]:
    """Replaces the memory of the large tensors of a module by that of an open safetensors file.

    Args:
        module: its tensors on the CPU have the shapes and dtypes of the file.
        file: the open file.
        entries: the checked entries of its header, by the names of the module's tensors.
        start: where the numbers begin in the file.

    Returns:
        The names of the tensors that were replaced. Tensors that are neither parameters nor buffers under their
        name, and those whose numbers are not aligned in the file, remain to be read.
    """
    import torch

    found: set[str] = set()
    pages: mmap.mmap | None = None
    tensors = _own_tensors(module)
    for name, entry in entries.items():
        tensor, at = tensors.get(name), start + entry["data_offsets"][0]
        if tensor is None or tensor.device.type != "cpu" or tensor.is_inference() or not tensor.is_contiguous():
            continue
        n_bytes = math.prod(tensor.shape) * tensor.element_size()
        if n_bytes < LEAST or at % tensor.element_size():
            continue
        if pages is None:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        flat = torch.frombuffer(pages, dtype=torch.uint8, count=n_bytes, offset=at)
        tensor.data = flat.view(tensor.dtype).view(tensor.shape)
        found.add(name)
    return found


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers themselves, of which `state_dict` returns other tensors of the same memory."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return {**dict(module.named_buffers(remove_duplicate=False)), **parameters}
