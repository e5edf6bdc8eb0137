"""The training loop: refresh, forward, loss, backward, step, the same for every recipe."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from megalabel.errors import SettingError
from megalabel.heads.abilities import UpdatesInBackward, having
from megalabel.phases import phase
from megalabel.storage.tables import release_pages
from megalabel.training.divergence import check_loss
from megalabel.training.log import Log
from megalabel.training.recipe import Recipe
from megalabel.training.step import StepContext
from megalabel.types import Batch, Positives

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FIRST_SCALE = 2.0**12  # Renée's initial loss scale if the head's products are float16


@dataclass
class Position:
    """The progress of a run between two steps: the next `step`, the best validation so far, and the first loss."""

    step: int = 0
    best: float = float("-inf")
    best_step: int = 0
    rounds_without_gain: int = 0
    seconds: float = 0.0
    first_loss: float = 0.0

    def best_validation(self, recipe: Recipe) -> dict[str, Any] | None:
        """The best validation so far, in the format of `recipe.json`; None for a run without validation."""
        if not len(recipe.validation):
            return None
        return {
            "metric": recipe.selection_metric,
            "value": round(self.best, 3),
            "step": self.best_step,
            "epoch": round(self.best_step / recipe.batches.per_epoch, 3),
        }


@phase("training")
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

    `between(position)` is called after every step; the run stops early if it returns True. Dropout and all other
    random numbers of a step are seeded by (recipe.seed, step), so that a resumed run repeats them.

    Raises:
        Diverged: a loss that is NaN or infinite, or many times the first one.
    """
    refresh(recipe, position.step, device)
    # Closed even if a step raises: the thread that prepares the batches must not outlive the loop.
    with contextlib.closing(recipe.batches.from_step(position.step)) as batches:
        for batch in batches:
            loss = train_step(recipe, batch, device, scaler, log, position.first_loss)
            if position.first_loss == 0.0 and math.isfinite(loss):
                position.first_loss = loss
            position.step = batch.step + 1
            if between(position):
                return
            if position.step < recipe.batches.steps:
                refresh(recipe, position.step, device)


def refresh(recipe: Recipe, step: int, device: torch.device) -> None:
    """Refreshes the head before a step if it is due: before step 0, and every `refresh_every` epochs."""
    every = recipe.refresh_every * recipe.batches.per_epoch
    if step == 0 or (every and step % every == 0):
        modes = [(module, module.training) for module in recipe.modules().values()]
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        recipe.head.refresh(functools.cache(functools.partial(training_embeddings, recipe, device)))
        for module, mode in modes:
            module.train(mode)


@torch.no_grad()
def training_embeddings(recipe: Recipe, device: torch.device) -> tuple[torch.Tensor, Positives]:
    """The views of all training rows, without dropout: (N, V, D) on the CPU, and their labels.

    They are in the order of the shuffled first epoch; `positives.texts` (N,) holds the row of each.
    """
    views, rows, labels, texts, before = [], [], [], [], 0
    recipe.encoder.eval()
    for some in recipe.batches.shuffled(0):
        batch = recipe.batches.collate(some, 0)
        with autocast(device, recipe.precision):
            views.append(recipe.encoder.views(batch.to(device)).float().cpu())
        rows.append(batch.positives.rows + before)
        labels.append(batch.positives.labels)
        texts.append(batch.rows)
        before += len(batch)
    return torch.cat(views), Positives.from_pairs(torch.cat(rows), torch.cat(labels), torch.cat(texts))


def train_step(
    recipe: Recipe,
    batch: Batch,
    device: torch.device,
    scaler: torch.amp.GradScaler,
    log: Log,
    first_loss: float = 0.0,
) -> float:
    """Makes an optimizer step on a batch and logs it; returns the logged loss, or NaN.

    first_loss: the first loss of the run; 0 if it is not known.

    Raises:
        Diverged: the loss is NaN or infinite, or many times the first one, without a loss scaler that handles it.
    """
    head, optimizers, seed = recipe.head, recipe.optimizers, recipe.seed * 1_000_003 + batch.step
    torch.manual_seed(seed)
    for module in recipe.modules().values():
        module.train()
    optimizers.follow(recipe.schedule, batch.step)
    logged = batch.step % recipe.log_every == 0 or batch.step == recipe.batches.steps - 1
    computed = all(batch.step % part.loss_every == 0 for part in having(head, UpdatesInBackward))
    context = StepContext(
        recipe.encoder,
        head,
        optimizers,
        scaler,
        device,
        functools.partial(autocast, device, recipe.precision),
        recipe.accumulation_steps,
        seed,
        logged and computed,
    )
    loss = recipe.step(batch, context)
    value = loss if head.reduction == "mean" else loss / len(batch)
    if context.wants_loss and not scaler.is_enabled():
        check_loss(batch.step, value, first_loss)
    optimizers.step(scaler, recipe.max_grad_norm, head)
    head.after_step(batch.step, optimizers)
    release_pages(touched=True)
    if recipe.averaging is not None:
        recipe.averaging.update(batch.step, recipe.encoder, head)
    metrics = {f"{name}_lr": o.param_groups[0]["lr"] for name, o in optimizers.named.items()}
    if logged:
        metrics |= head.metrics()
    log.step(batch.step, len(batch), value, metrics)
    return value


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of the encoder's products: "auto" selects bfloat16 if the device computes it fast.

    A GPU without bfloat16 but with tensor cores (V100, T4) takes float16, with loss scaling. On a CPU bfloat16 is
    fast with AMX tiles, and takes 0.6 times as long as float32 with the dot products of AVX-512 (docs/log.md);
    CPUs without such units run it many times slower than float32.
    """
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
            if not fast and torch.cuda.get_device_capability(device) >= (7, 0):
                return torch.float16
        else:
            known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
            fast = device.type == "cpu" and bool(known.get("amx_bf16") or known.get("avx512_bf16"))
        return torch.bfloat16 if fast else torch.float32
    if precision not in PRECISIONS:
        raise SettingError(
            f"precision = {precision!r}",
            wanted="auto, " + ", ".join(PRECISIONS),
            next_step="use one of them",
        )
    return PRECISIONS[precision]


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """The autocast context of the encoder; an empty context for float32."""
    dtype = resolve_precision(precision, device)
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def scaler_for(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """A loss scaler, active in float16 only."""
    half = resolve_precision(precision, device) == torch.float16
    return torch.amp.GradScaler(device.type, init_scale=FIRST_SCALE, enabled=half)
