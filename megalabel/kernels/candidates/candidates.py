"""The rows of a table against which each text is scored, and the gradient of a loss over them.

The candidates of a text are the children of the clusters kept on the level above, so they form blocks of
neighboring rows. Only the plain versions for tests allocate tensors of size (C, D): a block is two numbers, and
the gradient of a table of n rows is stored as one number per candidate besides the views.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.block_order import BlocksByRow
from megalabel.kernels.core.checks import check_range, check_vectors
from megalabel.storage.tables import fetch_rows, is_mapped
from megalabel.types import Positives


@dataclass(frozen=True)
class Candidates:
    """Blocks of neighboring rows for each text of a batch, and the positions of their scores.

    The scores of all texts form one flat vector (C,), block after block. A text may have no blocks. Two blocks of
    a batch are the same range or do not overlap (`row_step` relies on it and checks it).

    starts (n,), ends (n,) int64: block j consists of rows starts[j] to ends[j] - 1, at least one row.
    texts (B + 1,) int64: blocks texts[b]:texts[b + 1] are those of text b, ascending and without overlap.
    cells (n + 1,) int64: the scores of block j are cells[j]:cells[j + 1] of the flat vector.

    Raises:
        SettingError: vectors that do not describe such blocks. This is checked once, here; the operations only
            compare `n_rows` with their table.
    """

    starts: Tensor
    ends: Tensor
    texts: Tensor
    cells: Tensor
    n_rows: int = field(init=False)  # minimum number of rows of a table
    n_cells: int = field(init=False)  # C

    def __post_init__(self) -> None:
        highest, n_cells = _checked(self.starts, self.ends, self.texts, self.cells)
        object.__setattr__(self, "n_rows", highest)
        object.__setattr__(self, "n_cells", n_cells)

    @classmethod
    def of_blocks(cls, starts: Tensor, ends: Tensor, texts: Tensor) -> Candidates:
        """Makes candidates of blocks (n,), (n,) of the texts (B + 1,), with scores one after the other."""
        cells = torch.nn.functional.pad((ends - starts).cumsum(0), (1, 0))
        return cls(starts, ends, texts, cells)

    @classmethod
    def all_rows(cls, batch: int, n_rows: int, device: torch.device | str = "cpu") -> Candidates:
        """All n_rows rows for each of `batch` texts: the scores are (batch, n_rows), flattened."""
        if batch < 0 or n_rows < 1:
            raise SettingError(
                f"candidates for {batch} texts among {n_rows} rows",
                wanted="a batch of 0 or more texts and a table of 1 or more rows",
                next_step="build the label tree before the candidates",
            )
        starts = torch.zeros(batch, dtype=torch.int64, device=device)
        count = torch.arange(batch + 1, device=device)
        return cls(starts, torch.full_like(starts, n_rows), count, count * n_rows)

    @classmethod
    def of_ids(cls, texts: Tensor, ids: Tensor) -> Candidates:
        """Single rows: ids (C,) int64, those of text b at texts[b]:texts[b + 1], strictly ascending."""
        return cls(ids, ids + 1, texts, torch.arange(len(ids) + 1, device=ids.device))

    @property
    def whole(self) -> bool:
        """Whether each text has all rows up to the highest, which the counts show, since no row is repeated."""
        return 0 < self.n_cells == self.batch * self.n_rows and len(self) == self.batch

    @property
    def batch(self) -> int:
        """B, the number of texts."""
        return len(self.texts) - 1

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def device(self) -> torch.device:
        """The device of the vectors."""
        return self.starts.device

    def to(self, device: torch.device | str) -> Candidates:
        """The same candidates on another device."""
        return Candidates(*(x.to(device) for x in (self.starts, self.ends, self.texts, self.cells)))

    def text_cells(self) -> Tensor:
        """(B + 1,) int64: the scores of text b are at [b]:[b + 1] of the flat vector."""
        return self.cells[self.texts]

    @cached_property
    def by_rows(self) -> BlocksByRow:
        """The blocks in ascending order of rows, members of a group by text; computed once."""
        return BlocksByRow.from_blocks(self.starts, self.ends, self.texts_of_blocks(), self.cells[:-1])

    def fetch(self, table: Tensor) -> None:
        """Has the system read these rows of a table (n, …), all at once, where it is on disk."""
        if is_mapped(table):
            fetch_rows(table, self.by_rows.starts, self.by_rows.ends)

    def texts_of_blocks(self) -> Tensor:
        """(n,) int64: the text of each block."""
        return torch.arange(self.batch, device=self.device).repeat_interleave(
            self.texts.diff(), output_size=len(self)
        )

    def texts_of_cells(self) -> Tensor:
        """(C,) int64: the text of each score."""
        counts = self.text_cells().diff()
        return torch.arange(self.batch, device=self.device).repeat_interleave(counts, output_size=self.n_cells)

    def rows_of_cells(self) -> Tensor:
        """(C,) int64: the row of the table of each score."""
        offset = (self.starts - self.cells[:-1]).repeat_interleave(
            self.ends - self.starts, output_size=self.n_cells
        )
        return offset + torch.arange(self.n_cells, device=self.device)


@dataclass(eq=False)
class TableGradient:
    """The gradient of a loss by a table (n, D) and its bias (n,) in factored form.

    dW[r] = Σ cells[c] · views[text of c], over the cells c whose row is r. views (B, D) shares memory with the
    scored tensor, which must not be changed in place before the step. Until backward is called the upstream
    gradient counts as 1; the first backward pass replaces the cells by cells times its upstream gradient, and
    every later one adds to them, as with .grad. So a loss scale or the weight of a level reaches the table as it
    reaches the views.

    Attributes:
        views: (B, D), of the table's dtype, without a graph.
        candidates: the text and row of each cell.
        cells: (C,), ∂loss/∂logit.
    """

    views: Tensor
    candidates: Candidates
    cells: Tensor
    _received: bool = False

    def receive(self, cells: Tensor, upstream: Tensor) -> None:
        """Called by backward with cells (C,) for an upstream gradient of 1, and the upstream gradient ()."""
        part = cells * upstream
        self.cells = self.cells.add_(part) if self._received else part
        self._received = True

    def scale_(self, factor: float | Tensor) -> TableGradient:
        """Multiplies by a number or (), for example to remove a loss scale; returns itself."""
        self.cells = self.cells * factor
        return self

    def dense(self, n: int) -> tuple[Tensor, Tensor]:
        """dW (n, D) and db (n,); for tests and small tables."""
        rows, texts = self.candidates.rows_of_cells(), self.candidates.texts_of_cells()
        weight = self.views.new_zeros(n, self.views.shape[1])
        weight.index_add_(0, rows, self.cells[:, None] * self.views[texts])
        return weight, self.views.new_zeros(n).index_add_(0, rows, self.cells)


def positives_by_text(positives: Positives, batch: int, n_rows: int) -> tuple[Tensor, Tensor]:
    """offsets (B + 1,) and rows (P,) int64: rows[offsets[b]:offsets[b + 1]] are those of text b, ascending.

    Pairs may come in any order; repeated pairs count once.

    Raises:
        DataError: a pair outside (batch, n_rows).
    """
    texts, rows = positives.rows, positives.labels
    check_vectors(positives)
    if len(rows) == 0:
        return torch.zeros(batch + 1, dtype=torch.int64, device=rows.device), rows
    ends = torch.stack([texts.min(), texts.max(), rows.min(), rows.max()]).tolist()
    advice = "give the positives of this batch, numbered by the tree as the table's rows are"
    check_range("text", ends[0], ends[1], batch, advice)
    check_range("row", ends[2], ends[3], n_rows, advice)
    keys = torch.unique(texts * n_rows + rows)  # sorted
    starts = torch.arange(batch + 1, device=rows.device) * n_rows
    return torch.searchsorted(keys, starts), keys % n_rows


def _checked(starts: Tensor, ends: Tensor, texts: Tensor, cells: Tensor) -> tuple[int, int]:
    """The highest end and C, with a single transfer from the device."""
    n = starts.shape[0] if starts.dim() == 1 else -1
    shapes = [tuple(x.shape) for x in (starts, ends, texts, cells)]
    integers = all(x.dtype == torch.int64 for x in (starts, ends, texts, cells))
    if n < 0 or not integers or shapes[1] != (n,) or shapes[3] != (n + 1,) or texts.dim() != 1 or len(texts) < 1:
        dtypes = ", ".join(str(x.dtype) for x in (starts, ends, texts, cells))
        raise SettingError(
            f"candidates with starts, ends, texts and cells of shapes {shapes}, {dtypes}",
            wanted="int64 vectors (n,), (n,), (B + 1,) and (n + 1,)",
            next_step="make candidates with shortlist, all_rows, of_ids or of_blocks",
        )
    first_of_text = torch.zeros(n + 1, dtype=torch.bool, device=starts.device)
    first_of_text[texts.clamp(0, n)] = True
    zero = torch.zeros((), dtype=torch.int64, device=starts.device)
    facts = torch.stack(
        [
            ends.max() if n else zero,
            cells[-1],
            (ends <= starts).any(),
            starts.min() if n else zero,
            ((starts[1:] < ends[:-1]) & ~first_of_text[1:n]).any() if n > 1 else zero,
            (cells.diff() != ends - starts).any() | (cells[0] != 0),
            (texts.diff() < 0).any() | (texts[0] != 0) | (texts[-1] != n),
        ]
    ).tolist()
    highest, n_cells, empty, lowest, falling, misplaced, unassigned = facts
    for wrong, found, wanted in (
        (unassigned, "blocks that are not assigned to texts", "texts rising from 0 to the number of blocks"),
        (empty, "a block without rows", "blocks of at least one row"),
        (lowest < 0, f"a block that starts at row {lowest}", "rows counted from 0"),
        (falling, "blocks of one text that overlap or fall", "rising blocks within each text"),
        (
            misplaced,
            "cells that are not the blocks' lengths added up",
            "cells[j + 1] - cells[j] scores for block j",
        ),
    ):
        if wrong:
            raise SettingError(
                f"candidates with {found}",
                wanted=wanted,
                next_step="make candidates with shortlist, all_rows, of_ids or of_blocks",
            )
    return highest, n_cells
