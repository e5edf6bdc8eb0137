"""Training within a memory: the options of a job with what the plan for it chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from megalabel.device import pick
from megalabel.errors import SettingError
from megalabel.planning.amounts import shown
from megalabel.planning.job import Job
from megalabel.planning.plan import plan
from megalabel.storage.tables import keep_few_pages
from megalabel.training import memory as of_training

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.recipes.presets import Resolved
    from megalabel.training.recipe import RecipeFunction


def within_memory(
    recipe: RecipeFunction[Any, Any],
    corpus: Corpus,
    resolved: Resolved,
    values: Mapping[str, Any],
    memory: int,
    device: str | None,
) -> tuple[Resolved, str]:
    """The options with what the plan chooses beside the user's values, and a line that says so.

    The C library then returns freed memory at once, as plans assume.

    Raises:
        SettingError: the training does not fit, the planner does not know it, or the device is not the CPU.
    """
    if pick(device).type != "cpu":
        raise SettingError(
            "a limit of the memory of a GPU",
            wanted="a training on the CPU",
            next_step="leave --memory out, or give --device cpu",
            where="memory",
        )
    sizes = of_training.sizes_of(corpus)
    job = Job.of(recipe.address, resolved.options.values(), sizes, torch.get_num_threads())
    found = plan(job, memory, frozenset(values))
    of_training.return_freed_memory()
    keep_few_pages()
    made = "".join(f", {name}={value}" for name, value in found.chosen.items())
    line = f"planned peak memory {shown(found.peak)} of {shown(memory)}{made}"
    options = recipe.options.from_values({**resolved.options.values(), **found.chosen})
    return resolved._replace(options=options, taken={**resolved.taken, **found.chosen}), line
