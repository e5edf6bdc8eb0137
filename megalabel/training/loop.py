"""The loop: forward, loss, backward, step, the same for every paper."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from megalabel.errors import SettingError
from megalabel.inputs.batches import split
from megalabel.training.log import Log
from megalabel.training.recipe import Recipe
from megalabel.types import Batch, Positives

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FIRST_SCALE = 2.0**12  # Renée's initial loss scale where the head's products are float16


@dataclass
class Position:
    """Where a run stands between two steps: the next `step`, and the best validation so far."""

    step: int = 0
    best: float = float("-inf")
    best_step: int = 0
    rounds_without_gain: int = 0
    seconds: float = 0.0


def fit(
    recipe: Recipe,
    position: Position,
    *,
    device: torch.device,
    scaler: torch.amp.GradScaler,
    log: Log,
    between: Callable[[Position], bool],
) -> None:
    """Runs a recipe from `position.step` to its end.

    `between(position)` is called after every step; where it answers True the run stops early. Dropout
    and all other chance in a step is seeded by (recipe.seed, step), so that a resumed run repeats it.
    """
    # Closed also where a step raises: the thread that makes the batches must not outlive the loop.
    with contextlib.closing(recipe.batches.from_step(position.step)) as batches:
        for batch in batches:
            _step(recipe, batch, device, scaler, log)
            position.step = batch.step + 1
            if between(position):
                return


@torch.no_grad()
def embedded(recipe: Recipe, device: torch.device) -> tuple[torch.Tensor, Positives]:
    """The views of all training rows, without dropout: (N, V, D) on the CPU, and their labels."""
    views, rows, labels, before = [], [], [], 0
    recipe.encoder.eval()
    with contextlib.closing(recipe.batches.from_step()) as batches:
        for batch in itertools.islice(batches, recipe.batches.per_epoch):
            with autocast(device, recipe.precision):
                views.append(recipe.encoder.views(batch.to(device)).float().cpu())
            rows.append(batch.positives.rows + before)
            labels.append(batch.positives.labels)
            before += len(batch.rows)
    return torch.cat(views), Positives.of(torch.cat(rows), torch.cat(labels))


def _step(recipe: Recipe, batch: Batch, device: torch.device, scaler: torch.amp.GradScaler, log: Log) -> None:
    encoder, head, optimizers = recipe.encoder, recipe.head, recipe.optimizers
    torch.manual_seed(recipe.seed * 1_000_003 + batch.step)
    encoder.train()
    head.train()
    optimizers.follow(recipe.schedule, batch.step)
    parts, total, loss_scale = split(batch, recipe.micro_batches), 0.0, scaler.get_scale()
    told = batch.step % recipe.log_every == 0 or batch.step == recipe.batches.steps - 1
    for i, part in enumerate(parts):
        optimizers.begin(i, len(parts), loss_scale)
        part = part.to(device)
        with autocast(device, recipe.precision):
            views = encoder.views(part)
            loss = head.loss(views.float(), part.positives)
        scaler.scale(loss).backward()
        if told:  # reading the value makes a GPU wait
            total += float(loss.detach())
    optimizers.step(scaler, recipe.clip)
    head.after_step(batch.step, optimizers["head"])
    facts = {f"{name}_lr": o.param_groups[0]["lr"] for name, o in optimizers.named.items()}
    if told:
        facts |= head.facts()
    value = total / (len(parts) if head.averaged else len(batch.rows)) if told else float("nan")
    log.step(batch.step, len(batch.rows), value, facts)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of the encoder's products: "auto" is bfloat16 where the device computes it fast.

    On a CPU that is one with AMX tiles; CPUs without bfloat16 units run it many times slower than float32.
    """
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
            fast = device.type == "cpu" and bool(known.get("amx_bf16"))
        return torch.bfloat16 if fast else torch.float32
    if precision not in PRECISIONS:
        raise SettingError(
            f"precision = {precision!r}",
            wanted="auto, " + ", ".join(PRECISIONS),
            next_step="name one of them",
        )
    return PRECISIONS[precision]


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """Autocast of the encoder, or nothing in float32."""
    dtype = resolve_precision(precision, device)
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def scaler_for(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """A loss scaler, active in float16 only."""
    half = resolve_precision(precision, device) == torch.float16
    return torch.amp.GradScaler(device.type, init_scale=FIRST_SCALE, enabled=half)
