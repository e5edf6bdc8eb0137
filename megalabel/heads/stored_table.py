"""The weights of a head with one table (L, n), in the type in which they are stored."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from megalabel.heads.abilities import UpdatesInBackward
from megalabel.heads.checks import check_exponents
from megalabel.heads.initial import filled
from megalabel.kernels.core.dtypes import WeightType
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.storage.tables import new_table


class StoredTable(UpdatesInBackward, nn.Module):
    """A head whose `weight` is a table in float32, or the codes of one in a narrow type.

    Attributes:
        weight: (L, n), the weights or their codes.
        weight_exponents: (L,) int8 where the weights of each label have a scale, else None.
    """

    weight: nn.Parameter
    weight_exponents: Tensor | None

    def add_weights(
        self,
        shape: tuple[int, int],
        kind: WeightType,
        size: float,
        fill: Callable[[Tensor], Tensor],
        generator: torch.Generator | None,
    ) -> None:
        """Adds the weights, some rows of which at a time are initialized by `fill` in place.

        size: 0 for zeros, which take no initialization where the weights are narrow.
        """
        self.weight_type = kind
        self.register_buffer("weight_exponents", None)
        if not kind.is_narrow:
            self.weight = nn.Parameter(filled(new_table(shape), fill))
            return
        table = NarrowTable.zeros(*shape, kind)
        if size:
            table.fill_(fill, Draw(int(torch.randint(1 << 62, (), generator=generator)), 0))
        self.weight = nn.Parameter(table.codes)
        self.weight_exponents = table.exponents

    def table(self, *, frozen: bool = False) -> Tensor | NarrowTable:
        """The weights as the kernels read them; narrow ones without a gradient if `frozen`.

        Raises:
            SettingError: narrow weights have been converted to another dtype.
        """
        if not self.weight_type.is_narrow:
            return self.weight
        codes = self.weight.detach() if frozen else self.weight
        return NarrowTable(self.weight_type, codes, self.weight_exponents)

    def largest_scaled(self) -> float:
        """The largest number of float8 with the largest scale of a label."""
        exponents = self.weight_exponents
        return 0.0 if exponents is None else self.weight_type.largest * 2.0 ** int(exponents.max())

    def check_scales(self) -> None:
        """Raises SettingError for scales with which weights would overflow."""
        if self.weight_exponents is not None:
            check_exponents(self.weight_exponents, "weight_exponents")

    def weight_config(self) -> dict[str, str]:
        """The entry of a head's `config` for narrow weights."""
        return {"weights": self.weight_type.name} if self.weight_type.is_narrow else {}
