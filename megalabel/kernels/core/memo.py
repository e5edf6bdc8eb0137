"""Keeps what was computed from tensors until one of them changes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

T = TypeVar("T")


class _Entry(NamedTuple):
    owner: weakref.ref[Tensor]
    state: tuple[Hashable, ...]
    value: Any


_entries: dict[tuple[int, str], _Entry] = {}


def memo_on(
    tensors: Sequence[Tensor],
    what: str,
    compute: Callable[[], T],
    *,
    key: Hashable = None,
    memory: Sequence[Tensor] = (),
) -> T:
    """What `compute()` returns, or returned the last time if nothing it depends on has changed since.

    torch counts the changes that are made in place through it. It does not see those that are made through numpy
    or `.data`, and counts none of tensors made in inference mode, for which `compute` is called every time.

    Args:
        tensors: one or more, whose numbers the value depends on. The value lives as long as the first of them, so
            it must not hold that tensor itself.
        what: names the use, such as "beam search": one value is kept for each first tensor and use.
        compute: makes the value.
        key: what else the value depends on.
        memory: tensors that the value reads where they lie: their numbers may change, their place may not.
    """
    if any(tensor.is_inference() for tensor in tensors):
        return compute()
    owner = tensors[0]
    state = (
        key,
        *((id(tensor), tensor.data_ptr(), tensor._version) for tensor in tensors),
        *((id(tensor), tensor.data_ptr()) for tensor in memory),
    )
    slot = id(owner), what
    entry = _entries.get(slot)
    if entry is not None and entry.owner() is owner and entry.state == state:
        value: T = entry.value
        return value
    made = compute()
    _entries[slot] = _Entry(weakref.ref(owner, lambda _: _entries.pop(slot, None)), state, made)
    return made
