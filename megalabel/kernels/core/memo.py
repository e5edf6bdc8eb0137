"""Caches results computed from tensors until one of the tensors changes."""

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
    """The result of `compute()`, or its previous result if nothing that it depends on has changed.

    torch counts in-place changes. It does not notice those made through numpy or `.data`, and does not count those
    of tensors made in inference mode, for which `compute` is called every time.

    Args:
        tensors: one or more tensors on whose values the result depends. The result lives as long as the first of
            them, so it must not reference that tensor.
        what: the name of the use, such as "beam search": one result is kept per first tensor and use.
        compute: computes the result.
        key: what else the result depends on.
        memory: tensors that the result reads in place: their values may change, their storage may not.
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
