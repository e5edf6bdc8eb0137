"""What a training needs of a job of several processes: its recipe, its decisions, and one process that writes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from megalabel.distributed.collectives import Traffic, sum_of_all
from megalabel.distributed.objects import barrier, from_main
from megalabel.distributed.own_texts import RankBatches
from megalabel.distributed.same_job import check_same_job
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.heads.abilities import OwnLabels, having
from megalabel.heads.base import Head
from megalabel.heads.wrappers.auxiliary import WithAuxiliary
from megalabel.heads.wrappers.label_parallel import LabelParallel
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.inputs.batches import Batches
from megalabel.training.data_parallel import DataParallel
from megalabel.training.interrupts import Interrupts
from megalabel.training.loop import resolve_precision
from megalabel.training.recipe import DirectRecipe, Recipe
from megalabel.training.run_lock import writing
from megalabel.training.step import Plain
from megalabel.version import __version__

# Heads around others, which know of processes.
AROUND = (LabelParallel, PartitionedHead, WithAuxiliary, WithProjection)
ALONE = "train in one process"


class Processes:
    """The processes of a training; with a world of one all of this does nothing.

    Attributes:
        world: the processes.
        traffic: counts the bytes that this one sends.
    """

    def __init__(self, world: World) -> None:
        self.world, self.traffic = world, Traffic()

    def shared(self, recipe: Recipe, device: torch.device) -> Recipe:
        """The recipe as this process trains it: its own texts of each batch, and its own labels.

        Raises:
            SettingError: the recipe has a part that several processes cannot train.
        """
        if self.world.size == 1:
            return recipe
        _check(recipe, device, self.world)
        for part in having(recipe.head, OwnLabels):
            part.traffic = self.traffic
        batches = RankBatches(recipe.batches, self.world, recipe.accumulation_steps)
        return replace(recipe, batches=batches, step=DataParallel(self.world, self.traffic))

    def agreed(self, *wishes: bool) -> list[bool]:
        """For each of some wishes, whether any process has it."""
        if self.world.size == 1:
            return list(wishes)
        counts = sum_of_all(torch.tensor([int(wish) for wish in wishes]), self.world, self.traffic)
        return [count > 0 for count in counts.tolist()]

    def same(self, facts: dict[str, Any]) -> None:
        """Raises ProcessesDiffer in all processes unless they have the same facts and versions."""
        if self.world.size > 1:
            check_same_job({"megalabel": __version__, "torch": torch.__version__, **facts}, self.world)

    def compare(self, recipe: Recipe | DirectRecipe, out: Path, settings: tuple[Any, ...]) -> None:
        """Checks that all processes do the same work in the same folder; see `check_job`.

        settings: lr_scale, checkpoint_steps and validate_epochs of `train`.
        """
        if self.world.size > 1:
            from megalabel.training.job_checks import check_job

            names = ("lr_scale", "checkpoint_steps", "validate_epochs")
            check_job(recipe, out, dict(zip(names, settings, strict=True)), self.world)

    def by_main(self, work: Callable[[], Any]) -> Any:
        """What `work` returns in rank 0, in every process; the others wait for it."""
        return from_main(work, self.world)

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """A context that rank 0 passes through before the others enter it, such as to write a cache."""
        if not self.world.is_main:
            barrier(self.world)
        yield
        if self.world.is_main:
            barrier(self.world)

    def wait(self) -> None:
        """Waits for all processes, such as for a file that rank 0 writes."""
        barrier(self.world)

    def writing(self, out: Path) -> contextlib.AbstractContextManager[None]:
        """The lock of the run folder, which rank 0 holds."""
        return writing(out) if self.world.is_main else contextlib.nullcontext()

    def interrupts(self) -> Interrupts:
        """The signals that end the training after a step: torchrun may send more than one to each process."""
        return Interrupts(patient=self.world.size > 1)

    def check_alone(self, found: str) -> None:
        """Raises SettingError for what several processes cannot do."""
        if self.world.size > 1:
            raise SettingError(
                f"{found} in a job of {self.world.size} processes",
                wanted="a job of one process",
                next_step="start it without torchrun",
                where="recipe",
            )

    def facts(self, steps: int) -> dict[str, Any]:
        """What the run folder says about the job: nothing of a single process.

        steps: those that this job has made, which are fewer than those of the run if it was resumed.
        """
        if self.world.size == 1:
            return {}
        return {"processes": self.world.size, "sent_mb_per_step": self.traffic.total / 1e6 / max(steps, 1)}

    def log_path(self, path: Path) -> Path:
        """Where this process writes its log: nowhere, but for rank 0."""
        return path if self.world.is_main else Path(os.devnull)


def _check(recipe: Recipe, device: torch.device, world: World) -> None:
    """Raises SettingError for a part of a recipe that several processes cannot train."""
    for found, wanted, step in _refused(recipe, device):
        raise SettingError(
            f"{found} in a job of {world.size} processes",
            wanted=wanted,
            next_step=step,
            where="recipe",
        )


def _refused(recipe: Recipe, device: torch.device) -> Iterator[tuple[str, str, str]]:
    inside = {id(part.holder) for part in having(recipe.head, OwnLabels)}
    for head in having(recipe.head, Head):
        if not isinstance(head, AROUND) and id(head) not in inside:
            yield f"a {type(head).__name__}", "a DenseHead, a SparseHead or a CascadeHead", ALONE
    if type(recipe.batches) is not Batches:
        yield type(recipe.batches).__name__, "batches in random order", ALONE
    if not isinstance(recipe.step, Plain):
        yield type(recipe.step).__name__, "a step in micro-batches", ALONE
    if recipe.second_stage is not None:
        yield "a second stage", "a recipe of one stage", "train the second stage afterwards in one process"
    if recipe.parts:
        yield f"the parts {', '.join(recipe.parts)}", "an encoder and a head alone", ALONE
    if recipe.refresh_every:
        yield "refresh_every", "a head that is refreshed at most once", ALONE
    by_gradients = any(
        getattr(part.holder, "update_rule", None) is None for part in having(recipe.head, OwnLabels)
    )
    if by_gradients and resolve_precision(recipe.precision, device) == torch.float16:
        # A step that one process skips for an overflow would be made by the others.
        yield "products in float16 with this head and its optimizer", "bfloat16 or float32", ALONE
    if device.type == "cuda" and any(isinstance(m, nn.Embedding) and m.sparse for m in recipe.encoder.modules()):
        yield "sparse updates of token embeddings on GPUs", "dense ones, or a job on CPUs", ALONE
