"""The tables of a cascade for `candidates/beam.py`, checked so that compiled code can trust every index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.candidates.row_checks import own_dtype
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import integers

Numbers = Tensor | np.ndarray


class NarrowRows(NamedTuple):
    """A narrow table as an argument of the compiled code, which is compiled once for all narrow types.

    The codes (n, D) are in the array of their size, and the other one is (0, D).
    """

    codes16: np.ndarray  # uint16, of bfloat16
    codes8: np.ndarray  # uint8, of float8
    exponents: np.ndarray  # (n,) int8, of float8; else empty

    @classmethod
    def of(cls, table: NarrowTable) -> NarrowRows:
        """The arrays of a table on a CPU; memory is shared."""
        codes, none = integers(table.codes).numpy(), (0, table.shape[1])
        if table.exponents is None:
            return cls(codes.view(np.uint16), np.empty(none, np.uint8), np.empty(0, np.int8))
        return cls(np.empty(none, np.uint16), codes, table.exponents.numpy())


class BeamTree(NamedTuple):
    """Tables, tree and beams as arguments of the compiled code."""

    weights: tuple[np.ndarray | NarrowRows, ...]  # all of one type
    biases: tuple[np.ndarray, ...]
    offsets: tuple[np.ndarray, ...]
    order: np.ndarray
    beams: np.ndarray
    cells: int  # maximum number of candidates of a text on a level of clusters, or the size of the largest leaf
    mode: int  # how scores are combined, numbered as in `_cpu/beam.py`


class BeamTables:
    """Tables, tree and beams, checked and converted; arguments and errors are those of `BeamSearch`.

    On a CPU, weights and biases are float32 and C-contiguous; they share the memory of the arguments if these are
    so already. Narrow tables stay as they are: all of them are narrow, or none. beams: limited to the sizes of the
    levels. widest: the maximum number of candidates of a text on any level. cells: the same on the levels of
    clusters, or the size of the largest leaf if that is more.
    """

    def __init__(
        self,
        weights: Sequence[Tensor | NarrowTable],
        biases: Sequence[Tensor | None],
        offsets: Sequence[Numbers],
        order: Numbers,
        beams: Sequence[int],
    ) -> None:
        _check_tables(weights, biases, offsets, beams)
        self.device, self.n_labels = weights[0].device, weights[-1].shape[0]
        self.narrow = isinstance(weights[0], NarrowTable)
        self.weights = [_table(w) for w in weights]
        self.biases = [
            torch.zeros(w.shape[0], dtype=own_dtype(w), device=w.device)
            if b is None
            else b.detach().to(own_dtype(w)).contiguous()
            for w, b in zip(self.weights, biases, strict=True)
        ]
        children, places = [_integers(o) for o in offsets], _integers(order)
        sizes = [w.shape[0] for w in self.weights]
        _check_tree(sizes, children, places)
        self.beams = [int(min(beam, n)) for beam, n in zip(beams, sizes[:-1], strict=True)]
        fans = [int(np.diff(o).max()) for o in children]
        reach = [min(n, beam * fan) for n, beam, fan in zip(sizes[1:], self.beams, fans, strict=True)]
        self.widest, self.cells = max(sizes[0], *reach), max(sizes[0], fans[-1], *reach[:-1])
        self.offsets = [torch.from_numpy(o).to(self.device) for o in children]
        self.order = torch.from_numpy(places).to(self.device)

    def arrays(self, mode: int) -> BeamTree:
        """The arguments of the compiled code, on a CPU; memory is shared."""
        return BeamTree(
            tuple(NarrowRows.of(w) if isinstance(w, NarrowTable) else w.numpy() for w in self.weights),
            tuple(b.numpy() for b in self.biases),
            tuple(o.numpy() for o in self.offsets),
            self.order.numpy(),
            np.array(self.beams, dtype=np.int64),
            self.cells,
            mode,
        )


def _table(weight: Tensor | NarrowTable) -> Tensor | NarrowTable:
    if isinstance(weight, NarrowTable):
        return weight
    return weight.detach().float().contiguous() if weight.device.type == "cpu" else weight.detach()


def _integers(numbers: Numbers) -> np.ndarray:
    """On the host, int64 and writable, since numba compiles separate code for read-only arrays."""
    found = np.asarray(numbers.cpu() if isinstance(numbers, Tensor) else numbers)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise _unfit(f"offsets or an order of shape {found.shape} and dtype {found.dtype}", "vectors of integers")
    return np.require(found, dtype=np.int64, requirements=["C", "W"])


def _unfit(found: str, wanted: str) -> SettingError:
    return SettingError(found, wanted=wanted, next_step="use tables, offsets and order of the same cascade head")


def _check_tables(
    weights: Sequence[Tensor | NarrowTable],
    biases: Sequence[Tensor | None],
    offsets: Sequence[Numbers],
    beams: Sequence[int],
) -> None:
    depth = len(offsets)
    if depth < 1 or len(beams) != depth or not len(weights) == len(biases) == depth + 1:
        raise _unfit(
            f"{len(weights)} weights, {len(biases)} biases, {depth} offsets and {len(beams)} beams",
            "K offsets, K beams, K + 1 weights and K + 1 biases, with K of 1 or more",
        )
    if any(beam != int(beam) or beam < 1 for beam in beams):
        raise SettingError(
            f"beams={list(beams)}",
            wanted="whole numbers, 1 or more",
            next_step="keep at least one node",
            where="beams",
        )
    shapes = [tuple(w.shape) for w in weights]
    if any(len(s) != 2 or 0 in s or s[1] != shapes[0][1] for s in shapes):
        raise _unfit(f"weights of shapes {shapes}", "(n, D) with the same D, and no empty table")
    for shape, bias in zip(shapes, biases, strict=True):
        if bias is not None and tuple(bias.shape) != shape[:1]:
            raise _unfit(f"a bias {tuple(bias.shape)} for weights {shape}", "one number per row")
    devices = {str(t.device) for t in (*weights, *biases) if t is not None}
    if len(devices) > 1:
        raise _unfit(f"tables on {' and '.join(sorted(devices))}", "all of them on one device")


def _check_tree(sizes: list[int], children: list[np.ndarray], order: np.ndarray) -> None:
    for i, o in enumerate(children):
        if len(o) != sizes[i] + 1 or o[0] != 0 or o[-1] != sizes[i + 1] or (np.diff(o) < 0).any():
            raise _unfit(
                f"offsets of level {i} that do not divide {sizes[i + 1]} rows among {sizes[i]} nodes",
                "n + 1 numbers that increase from 0 to the size of the next table",
            )
    n = sizes[-1]
    if len(order) != n or order.min() < 0 or order.max() >= n or np.bincount(order).max() > 1:
        raise _unfit(f"an order of {len(order)} numbers for {n} labels", "each label id exactly once")


def check_views(views: Tensor, weights: list[Tensor | NarrowTable]) -> None:
    """Raises SettingError unless views are (B, 1, D) or (B, K + 1, D) and on the device of the tables."""
    width = weights[0].shape[1]
    if views.device != weights[0].device:
        raise SettingError(
            f"views on {views.device} and tables on {weights[0].device}",
            wanted="both on one device",
            next_step="move the head to the encoder's device",
            where="views",
        )
    if views.dim() != 3 or views.shape[1] not in (1, len(weights)) or views.shape[2] != width:
        raise SettingError(
            f"views {tuple(views.shape)}",
            wanted=f"(B, 1, {width}) or (B, {len(weights)}, {width})",
            next_step="pass the output width of the encoder as `dim` of the head, and one view per level",
            where="views",
        )
