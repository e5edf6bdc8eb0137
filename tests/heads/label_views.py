"""A labels' encoder without texts, for tests of heads that are bound to one: a table of vectors."""

from __future__ import annotations

from torch import Tensor, nn


class TableOfLabels(nn.Module):
    """Label ids to the rows of a table (L, D), as views (n, 1, D)."""

    n_views = 1

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)
        self.dim = table.shape[1]

    def __len__(self) -> int:
        return len(self.table)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (n,) int64 to (n, 1, D)."""
        return self.table[ids][:, None]

    def all_views(self, batch_size: int = 256) -> Tensor:
        """The whole table, (L, 1, D) float32."""
        return self.table.detach().float()[:, None]
