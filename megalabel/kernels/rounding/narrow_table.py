"""`NarrowTable`: weights (L, D) in a narrow type, read and written in ranges of rows as float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.dtypes import WeightType
from megalabel.kernels.rounding.stochastic_rounding import SMALLEST_EXPONENT, Draw, load_rows, store_rows
from megalabel.storage.tables import new_table, release_pages

_ROWS = 4096  # rows that are initialized or checked at a time


@dataclass(frozen=True, eq=False)
class NarrowTable:
    """Weights in a narrow type. Only a few rows at a time exist as float32.

    Attributes:
        kind: the type.
        codes: (L, D) of `kind.dtype`, contiguous. Row i stands for codes[i] · 2^exponents[i].
        exponents: (L,) int8; None for a type without a scale.
    """

    kind: WeightType
    codes: Tensor
    exponents: Tensor | None = None

    def __post_init__(self) -> None:
        scaled = self.kind.scale == "row"
        fits = self.codes.dtype == self.kind.dtype and (self.exponents is not None) == scaled
        if self.exponents is not None:
            fits &= self.exponents.shape == self.codes.shape[:1] and self.exponents.dtype == torch.int8
        if not fits or not self.codes.is_contiguous():
            beside = None if self.exponents is None else (tuple(self.exponents.shape), self.exponents.dtype)
            raise SettingError(
                f"weights {tuple(self.codes.shape)} of {self.codes.dtype} with exponents {beside}",
                wanted=f"contiguous weights of {self.kind.dtype}"
                + (", and an int8 exponent for each row" if scaled else ", and no exponents"),
                next_step="do not convert the head to another dtype: its weights are stored as they are",
                where="weight",
            )

    @classmethod
    def zeros(cls, n_rows: int, dim: int, kind: WeightType) -> NarrowTable:
        """A table of zeros on the CPU; its codes are on disk within `tables_on_disk`."""
        exponents = torch.full((n_rows,), SMALLEST_EXPONENT, dtype=torch.int8) if kind.scale == "row" else None
        return cls(kind, new_table((n_rows, dim), kind.dtype), exponents)

    @property
    def shape(self) -> torch.Size:
        """(L, D)."""
        return self.codes.shape

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.codes.device

    @property
    def n_bytes(self) -> int:
        """The memory of weights and exponents."""
        n: int = self.codes.numel() * self.codes.element_size() + len(self.codes) * self.kind.row_bytes
        return n

    def load(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """Rows start to stop as (n, D) float32, written to `out` if it is given."""
        if out is None:
            out = torch.empty(stop - start, self.shape[1], device=self.device)
        exponents = None if self.exponents is None else self.exponents[start:stop]
        return load_rows(self.codes.detach()[start:stop], exponents, self.kind, out)

    def store(self, start: int, values: Tensor, draw: Draw) -> None:
        """Rounds rows (n, D) float32, contiguous, to the table from row `start` on."""
        stop = start + len(values)
        exponents = None if self.exponents is None else self.exponents[start:stop]
        store_rows(values, self.codes.detach()[start:stop], exponents, self.kind, draw, start)

    def load_rows(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """The given rows (n,) int64, in their order, as (n, D) float32, written to `out` if it is given."""
        if out is None:
            out = torch.empty(len(rows), self.shape[1], device=self.device)
        return load_rows(self.codes.detach(), self.exponents, self.kind, out, rows)

    def store_rows(self, rows: Tensor, values: Tensor, draw: Draw) -> None:
        """Rounds values (n, D) float32, contiguous, to the given rows (n,) int64, of which none is repeated.

        The random numbers of a row are those that `store` takes for it.
        """
        store_rows(values, self.codes.detach(), self.exponents, self.kind, draw, places=rows)

    @torch.no_grad()
    def normal_(self, std: float, draw: Draw, generator: torch.Generator | None = None) -> None:
        """Fills the table with rounded normal deviates, a block of rows at a time.

        As rows have a scale of their own, an initialization that shrinks with the number of labels does not round
        to zeros.
        """
        self.fill_(lambda rows: rows.normal_(0, std, generator=generator), draw)

    @torch.no_grad()
    def uniform_(self, bound: float, draw: Draw, generator: torch.Generator | None = None) -> None:
        """The same with numbers that are uniform between -bound and bound."""
        self.fill_(lambda rows: rows.uniform_(-bound, bound, generator=generator), draw)

    @torch.no_grad()
    def fill_(self, drawn: Callable[[Tensor], Tensor], draw: Draw, n_rows: int | None = None) -> None:
        """Fills the table with rounded numbers: `drawn` writes some rows (n, D) float32 at a time, on the CPU.

        n_rows: the rows of the larger table of which this one holds some, from row `draw.first` on; they get the
            numbers that they have in it, and the others are drawn too. None where this is the whole table.
        """
        total = len(self.codes) if n_rows is None else n_rows
        buffer = torch.empty(min(_ROWS, total), self.shape[1])
        for start in range(0, total, _ROWS):
            rows = drawn(buffer[: total - start])
            low, high = max(start, draw.first), min(start + len(rows), draw.first + len(self.codes))
            if low < high:
                self.store(low - draw.first, rows[low - start : high - start].to(self.device), draw)
            release_pages()

    def float(self) -> Tensor:
        """All weights as float32: as much memory as was saved, for tests and small tables."""
        return self.load(0, len(self.codes))
