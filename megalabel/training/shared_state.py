"""The state of a recipe as parts of tensors: what one process holds of weights, optimizers and averages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from megalabel.distributed.checkpoint_plan import Part, Rows
from megalabel.distributed.objects import gather_objects
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.training.label_rows import named_tensors
from megalabel.training.nested_state import merged, without_tensors
from megalabel.training.optim.fused import Fused
from megalabel.training.optim.groups import AnyOptimizer
from megalabel.training.optim.row_sparse import RowOptimizer
from megalabel.training.recipe import Recipe

# What distinguishes a tensor in the messages between processes: dtype, shape of a row, number of rows if the
# processes hold different ones.
Outline = tuple[torch.dtype, tuple[int, ...], int | None]


class SharedState:
    """The state of a recipe of which this process holds a part.

    Names are those of one process: "head/weight" is a tensor of a module, "optimizer-head:/state/0/mean" the state
    of an optimizer for its first weights, "averaging:/average/head.weight" an average.

    Args:
        recipe: this process's recipe.
        divided: the rows that this process holds of tensors of its modules; see `divided_rows`.
    """

    def __init__(self, recipe: Recipe, divided: Mapping[str, Rows]) -> None:
        self._recipe, self._divided = recipe, divided
        self.modules = {name: tensor.detach() for name, tensor in named_tensors(recipe).items()}
        self._of_weights = {id(t): divided[name] for name, t in named_tensors(recipe).items() if name in divided}
        self.stateful: dict[str, Any] = {f"optimizer-{key}": one for key, one in recipe.optimizers.named.items()}
        if recipe.averaging is not None:
            self.stateful["averaging"] = recipe.averaging

    def module_parts(self) -> dict[str, Part]:
        """The tensors of the modules themselves."""
        return {name: Part(tensor, self._divided.get(name)) for name, tensor in self.modules.items()}

    def parts(self, world: World) -> tuple[dict[str, Part], dict[str, Any]]:
        """This process's part of all tensors, and the states of optimizers and averages without their tensors.

        Every process must call this. An optimizer has no state yet for weights that it has not moved; where
        another process has one, it is zeros here, as it is at first in every optimizer.
        """
        parts, rest = self.module_parts(), {}
        for key, owner in self.stateful.items():
            tensors: dict[str, Tensor] = {}
            rest[key] = without_tensors(owner.state_dict(), "", tensors)
            parts |= {f"{key}:{path}": self._state_part(f"{key}:{path}", t) for path, t in tensors.items()}
        found = gather_objects(({name: _outline(part) for name, part in parts.items()}, rest), world)
        for _, more in found:
            rest = {key: merged(rest[key], more[key]) for key in rest}
        outlines = [one for one, _ in found]
        names = {name: one for some in outlines for name, one in some.items()}
        return {
            name: part for name, one in names.items() if (part := self._part(name, one, parts, outlines))
        }, rest

    def _state_part(self, name: str, tensor: Tensor) -> Part:
        rows = self.of_state(name, tensor)
        if rows is not None and len(rows) != len(tensor):
            raise SettingError(
                f"the state {name} has {len(tensor)} rows for {len(rows)} rows of weights",
                wanted="an optimizer with a row of state for each row of weights",
                next_step="train in one process, or use another optimizer for the head",
            )
        return Part(tensor, rows)

    def of_state(self, name: str, own: Tensor | None = None) -> Rows | None:
        """The rows of a state, which are those of its weights; None where every process holds all of it.

        own: the state in this process, if it has one.
        """
        key, _, path = name.partition(":")
        if key == "averaging":
            return self._divided.get(path.removeprefix("/average/").replace(".", "/", 1))
        _, kind, number, rest = (*path.split("/", 3), "", "")[:4]
        if kind != "state" or not number.isdigit() or (own is not None and not own.dim()):
            return None
        optimizer = self._recipe.optimizers[key.removeprefix("optimizer-")]
        of_weights = (self._of_weights.get(id(one)) for one in _weights(optimizer, int(number)))
        rows = next((one for one in of_weights if one is not None), None)
        if rows is None or rest != "compensation" or not isinstance(optimizer, Fused):
            return rows
        rule = optimizer.rules[int(number)]  # the one state that only some of the rows have
        assert isinstance(rule, NarrowSGDRule)
        n, first = 0 if rule.compensated is None else len(rule.compensated), rule.first_compensated
        return Rows(first, first + n, first + n)

    def _part(
        self, name: str, outline: Outline, parts: Mapping[str, Part], outlines: list[dict[str, Outline]]
    ) -> Part | None:
        """This process's part of a tensor that some process has; None if it has none."""
        writer = next(rank for rank, one in enumerate(outlines) if name in one)
        part = parts.get(name)
        if outline[2] is None:
            return None if part is None else replace(part, writer=writer)
        rows = self.of_state(name) if part is None else part.rows
        assert rows is not None
        total = max(rows.total, *(one[name][2] or 0 for one in outlines if name in one))
        rows = replace(rows, total=total)
        return Part(torch.zeros(len(rows), *outline[1], dtype=outline[0]) if part is None else part.tensor, rows)


def _outline(part: Part) -> Outline:
    return part.tensor.dtype, tuple(part.tensor.shape[1:]), None if part.rows is None else part.rows.total


def _weights(optimizer: AnyOptimizer, number: int) -> list[Tensor]:
    """The weights to which a part of an optimizer's state belongs."""
    if isinstance(optimizer, Fused):
        return list(optimizer.heads[number].state_dict(keep_vars=True).values())
    if isinstance(optimizer, RowOptimizer):
        weight, bias = optimizer.tables[number]
        return [weight if isinstance(weight, Tensor) else weight.codes, bias]
    return [[p for group in optimizer.param_groups for p in group["params"]][number]]
