"""The tensors of a recipe by the names that they have in one process, and the rows that this process holds."""

from __future__ import annotations

from torch import Tensor

from megalabel.distributed.checkpoint_plan import Rows
from megalabel.distributed.objects import gather_objects
from megalabel.distributed.world import World
from megalabel.heads.abilities import OwnLabels, having
from megalabel.heads.wrappers.whole_state import prefix_of
from megalabel.training.recipe import Recipe


def named_tensors(recipe: Recipe) -> dict[str, Tensor]:
    """The tensors of all modules, such as "head/weight": parameters and buffers themselves, not copies."""
    return {name: tensor for name, (tensor, _) in _found(recipe).items()}


def divided_rows(recipe: Recipe, world: World) -> dict[str, Rows]:
    """The tensors of which each process holds some rows, by name; every process must call this.

    The rows of the processes follow each other in the order of their ranks.
    """
    own = {name: len(tensor) for name, (tensor, divided) in _found(recipe).items() if divided}
    all_sizes = gather_objects(own, world)
    found = {}
    for name, n_rows in own.items():
        sizes = [one[name] for one in all_sizes]
        start = sum(sizes[: world.rank])
        found[name] = Rows(start, start + n_rows, sum(sizes))
    return found


def _found(recipe: Recipe) -> dict[str, tuple[Tensor, bool]]:
    """Each tensor, and whether the processes hold different rows of it."""
    found: dict[str, tuple[Tensor, bool]] = {}
    for key, module in recipe.modules().items():
        names = {id(part): name for name, part in module.named_modules()}
        parts = having(module, OwnLabels)
        inside = {prefix_of(names[id(part.holder)]): (part.holder, prefix_of(names[id(part)])) for part in parts}
        for name, tensor in module.state_dict(keep_vars=True).items():
            prefix = next((prefix for prefix in inside if name.startswith(prefix)), None)
            if prefix is None:
                found[f"{key}/{name}"] = tensor, False
                continue
            (holder, outside), own = inside[prefix], name.removeprefix(prefix)
            found[f"{key}/{outside}{own}"] = tensor, tensor.dim() > 0 and own not in holder.replicated
    return found
