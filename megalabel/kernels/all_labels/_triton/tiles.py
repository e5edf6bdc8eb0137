"""Parts of the Triton kernels over all labels: tiles of logits and of gradients of weights, and their types.

x (B, D) is in the type of the matrix products; weights are float32, or codes of a narrow type (BITS of
`rounding/_triton/codes.py`), which are rounded to the type of x, as in the plain pass. Sums are float32. Offsets
are int64, since L · D exceeds 2³¹ at three million labels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from megalabel.kernels.rounding._triton.codes import numbers, power
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import integers

STEP_HEIGHT, STEP_WIDTH = 128, 64  # labels and columns of a tile of the kernels that learn


class Table(NamedTuple):
    """Weights as kernels read them.

    Attributes:
        codes: (L, D) float32, int16 (the bits of bfloat16) or uint8 (those of float8), contiguous.
        exponents: (L,) int8, the scale of each row of float8; None for other types.
        bits: 32, 16 or 8.
    """

    codes: Tensor
    exponents: Tensor | None
    bits: int

    @classmethod
    def of(cls, weight: Tensor | NarrowTable) -> Table:
        """The table of float32 weights or of narrow ones."""
        if isinstance(weight, NarrowTable):
            return cls(integers(weight.codes), weight.exponents, weight.kind.bits)
        return cls(weight.detach(), None, 32)

    def rows(self, start: int, stop: int) -> Table:
        """The rows start to stop − 1, in the same memory."""
        exponents = None if self.exponents is None else self.exponents[start:stop]
        return Table(self.codes[start:stop], exponents, self.bits)


def products(x: Tensor) -> dict[str, Any]:
    """The constants with which kernels multiply: as PyTorch does on the GPU, and so that the interpreter can.

    float32 products use TensorFloat32 only if `torch.set_float32_matmul_precision` allows it, and otherwise three
    such products of the numbers' upper and lower bits, whose error is near that of float32. Triton's interpreter
    cannot multiply bfloat16; products of its values in float32 are the same.
    """
    precision = "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    return {"WIDE": x.is_cpu or x.dtype == torch.float32, "PRECISION": precision}


def depth(x: Tensor) -> int:
    """How many texts or columns are multiplied at a time: half as many in float32, for lack of registers."""
    return 32 if x.dtype == torch.float32 else 64


def step_tiles(x: Tensor) -> dict[str, Any]:
    """The constants of kernels that learn: tiles of labels share each load of x."""
    return {"HEIGHT": STEP_HEIGHT, "WIDTH": STEP_WIDTH, "TEXTS": depth(x), "num_warps": 8, **products(x)}


def texts_of_tile(n_texts: int, most: int = 128) -> int:
    """The number of texts in a tile: a power of two from 16 to `most`."""
    return min(most, max(16, int(triton.next_power_of_2(n_texts))))


def cuts_of(cells: Tensor, n_rows: int, rows_of_tile: int, n_texts: int) -> Tensor:
    """Where the cells (P,) of each tile of rows begin, row · B + text, sorted: (tiles + 1,) int64."""
    edges = torch.arange(triton.cdiv(n_rows, rows_of_tile) + 1, device=cells.device) * (rows_of_tile * n_texts)
    return torch.searchsorted(cells, edges)


@triton.jit
def scales(exponents, row, live, BITS: tl.constexpr):
    """The scales (HEIGHT,) of rows of weights: powers of two for float8, otherwise 1."""
    if BITS == 8:
        found = power(tl.load(exponents + row, mask=live, other=0))
    else:
        found = tl.where(live, 1.0, 1.0)
    return found


@triton.jit
def logits(
    x,
    weight,
    scale,
    row,
    live,
    b,
    n_texts,
    dim,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
    BITS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Products (HEIGHT, WIDTH) of rows of weights with texts b, summed in float32, STEP columns at a time."""
    z = tl.zeros([HEIGHT, WIDTH], tl.float32)
    for start in range(0, dim, STEP):
        d = start + tl.arange(0, STEP)
        inside = live[:, None] & (d < dim)[None, :]
        w = numbers(tl.load(weight + row[:, None] * dim + d[None, :], mask=inside, other=0), BITS)
        if BITS == 8:
            w = w * scale[:, None]
        there = (b < n_texts)[None, :] & (d < dim)[:, None]
        u = tl.load(x + b[None, :].to(tl.int64) * dim + d[:, None], mask=there, other=0.0)
        w = w.to(x.dtype.element_ty)
        if WIDE:
            w, u = w.to(tl.float32), u.to(tl.float32)
        z = tl.dot(w, u, z, input_precision=PRECISION)
    return z


@triton.jit
def marked(cells, cuts, tile, b, n_texts, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """1 where a cell of a tile of rows is among `cells`, row · B + text, else 0: (HEIGHT, WIDTH) float32.

    The cells of the tile begin at cuts[tile]. What lies beyond the texts is arbitrary.
    """
    within = tl.arange(0, HEIGHT)[:, None] * n_texts + b[None, :]
    before = tile.to(tl.int64) * HEIGHT * n_texts
    y = tl.zeros([HEIGHT, WIDTH], tl.float32)
    at, end = tl.load(cuts + tile), tl.load(cuts + tile + 1)
    while at < end:
        y += (within == (tl.load(cells + at) - before).to(tl.int32)).to(tl.float32)
        at += 1
    return y


@triton.jit
def weight_gradient(
    x,
    dz,
    row,
    live,
    d,
    n_texts,
    dim,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    TEXTS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Σ_b dz[row, b] x[b, d], (HEIGHT, WIDTH) float32."""
    total = tl.zeros([HEIGHT, WIDTH], tl.float32)
    for start in range(0, n_texts, TEXTS):
        b = start + tl.arange(0, TEXTS)
        there = b < n_texts
        g = tl.load(dz + row[:, None] * n_texts + b[None, :], mask=live[:, None] & there[None, :], other=0.0)
        at = x + b[:, None].to(tl.int64) * dim + d[None, :]
        u = tl.load(at, mask=there[:, None] & (d < dim)[None, :], other=0.0)
        if WIDE:
            g, u = g.to(tl.float32), u.to(tl.float32)
        total = tl.dot(g, u, total, input_precision=PRECISION)
    return total
