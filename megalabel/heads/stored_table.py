"""The weights of a head with one table (L, n), in the type in which they are stored."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from megalabel.heads.abilities import UpdatesInBackward
from megalabel.heads.checks import check_arguments, check_exponents
from megalabel.heads.initial import filled, filled_part
from megalabel.kernels.core.dtypes import WeightType
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.storage.tables import new_table


class StoredTable(UpdatesInBackward, nn.Module):
    """A head whose `weight` is a table in float32, or the codes of one in a narrow type.

    Attributes:
        weight: (L, n), the weights or their codes.
        weight_exponents: (L,) int8 where the weights of each label have a scale, else None.
        first_label, all_labels: the number of the first label, and of all labels, where the head holds some labels
            of a larger one. Random numbers depend on the former; a loss that is a mean is that over the latter.
    """

    first_label: int = 0
    all_labels: int

    n_labels: int
    weight: nn.Parameter
    weight_exponents: Tensor | None

    def hold(self, n_labels: int, part: range | None) -> None:
        """Sets how many labels the head holds, and which of how many: all without `part`."""
        check_arguments(
            ("n_labels", n_labels, "1 or more", n_labels >= 1),
            ("part", part, f"labels from 0 to {n_labels}", part is None or _within(part, n_labels)),
        )
        self.all_labels = n_labels
        self.n_labels, self.first_label = (n_labels, 0) if part is None else (len(part), part.start)

    def add_weights(
        self,
        width: int,
        kind: WeightType,
        size: float,
        fill: Callable[[Tensor], Tensor],
        generator: torch.Generator | None,
    ) -> None:
        """Adds the weights, some rows of which at a time are initialized by `fill` in place.

        width: the number of weights per label.
        size: 0 for zeros, which take no initialization where the weights are narrow.
        """
        shape = (self.n_labels, width)
        self.weight_type = kind
        self.register_buffer("weight_exponents", None)
        if not kind.is_narrow:
            table = new_table(shape)
            whole = self.n_labels == self.all_labels
            of_all = (self.all_labels, self.first_label, fill, generator)
            self.weight = nn.Parameter(filled(table, fill) if whole else filled_part(table, *of_all))
            return
        narrow = NarrowTable.zeros(*shape, kind)
        if size:
            draw = Draw(int(torch.randint(1 << 62, (), generator=generator)), 0, self.first_label)
            narrow.fill_(fill, draw, self.all_labels)
        self.weight = nn.Parameter(narrow.codes)
        self.weight_exponents = narrow.exponents

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


def _within(part: range, n_labels: int) -> bool:
    return part.step == 1 and 0 <= part.start <= part.stop <= n_labels
