"""Checks of a recipe before its first step, for errors that would otherwise show up after hours or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from megalabel.data.read_options import IGNORED
from megalabel.encoders.base import Encoder
from megalabel.errors import SettingError
from megalabel.heads.abilities import BindsLabels, OwnLabels, having
from megalabel.heads.base import Head, uses_weights
from megalabel.training.recipe import Recipe

REBUILT = 64e6  # bytes; modules with larger tensors are not rebuilt from their config
ASKED = 5  # labels


def preflight(recipe: Recipe, inference_head: Head, device: torch.device) -> None:
    """Checks configs, optimizers and predictions of a recipe on the device; changes nothing.

    Raises:
        SettingError: a config is not JSON or does not rebuild the same tensors, a trainable parameter is in no
            optimizer or in several, weights of texts would be ignored, or `topk` returns another shape than (B, k)
            or wrong dtypes.
    """
    check_optimizers(recipe)
    check_text_weights(recipe)
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else None):
        check_config(recipe.encoder, lambda config: _encoder_of(recipe, config))
        if not having(inference_head, OwnLabels):  # its config is that of the head of all labels
            check_config(inference_head, lambda config: type(inference_head).from_config(config, None))
        check_topk(recipe, inference_head, device)


def check_optimizers(recipe: Recipe) -> None:
    """Raises SettingError unless every trainable parameter is in exactly one optimizer."""
    held: dict[int, list[str]] = {}
    for name, optimizer in recipe.optimizers.named.items():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                held.setdefault(id(parameter), []).append(name)
    for part, module in recipe.modules().items():
        for name, parameter in module.named_parameters():
            optimizers = held.get(id(parameter), [])
            if parameter.requires_grad and len(optimizers) != 1:
                found = f"in the optimizers {' and '.join(optimizers)}" if optimizers else "in no optimizer"
                raise SettingError(
                    f"the parameter {part}.{name} of shape {tuple(parameter.shape)} is {found}",
                    wanted="each trainable parameter in exactly one optimizer",
                    next_step="pass it to one of Recipe.optimizers, or call requires_grad_(False) on it",
                    where="optimizers",
                )


def check_text_weights(recipe: Recipe) -> None:
    """Raises SettingError where training texts have weights that the head or the batches would ignore."""
    if recipe.data.train.weights is None:
        return
    ignoring = [type(head).__name__ for head in having(recipe.head, Head) if not uses_weights(head)]
    if not ignoring:
        batch = recipe.batches.collate(recipe.batches.shuffled(0)[0][:2], 0)
        if batch.positives.weights is not None:
            return
        ignoring = [type(recipe.batches).__name__]
    raise SettingError(
        f"{recipe.data.name} has weights of its training texts, which {' and '.join(ignoring)} does not use",
        wanted="a head with uses_weights = True, and batches with positives.weights",
        next_step="multiply the loss of each text by positives.weights and declare uses_weights, or read the data "
        f"without weights: weight_field={IGNORED!r} (--weight-field {IGNORED})",
        where="data",
    )


def check_config(module: Encoder | Head, rebuild: Callable[[Any], nn.Module]) -> None:
    """Raises SettingError unless the module's config is JSON and rebuilds tensors of the same names and dtypes.

    A module whose tensors take more than 64 MB is not rebuilt.
    """
    name, config = type(module).__name__, module.config()
    try:
        again = json.loads(json.dumps(config))
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"{name}.config() returned values that JSON does not support ({error})",
            wanted="dictionaries, lists, strings, numbers, True, False and None",
            next_step=f"return plain Python values from {name}.config()",
            where="config",
        ) from error
    if sum(t.numel() * t.element_size() for t in module.state_dict().values()) > REBUILT:
        return
    try:
        other = rebuild(again)
    except Exception as error:
        raise SettingError(
            f"{name}.from_config does not accept the result of config() ({type(error).__name__}: {error})",
            wanted="a module of the same shape",
            next_step=f"return from {name}.config() the arguments of {name}.from_config, as JSON",
            where="config",
        ) from error
    ours, theirs = _shapes(module.state_dict()), _shapes(other.state_dict())
    if ours != theirs:
        wrong = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))[0]
        raise SettingError(
            f"rebuilt from its config, {name} has {_said(theirs, wrong)} instead of {_said(ours, wrong)}",
            wanted="the same tensors, so that a saved model can be loaded",
            next_step=f"let {name}.config() include all that determines the tensors, or drop it from state_dict",
            where="config",
        )


@torch.no_grad()
def check_topk(recipe: Recipe, head: Head, device: torch.device) -> None:
    """Raises SettingError unless `topk` returns k labels per text.

    Heads that would have to encode all labels first are skipped.
    """
    if having(head, BindsLabels):
        return
    modules: list[nn.Module] = [recipe.encoder, head]
    modes = [(module, module.training) for module in modules]
    for module in modules:
        module.eval()
    rows = recipe.batches.shuffled(0)[0][:2]
    batch = recipe.batches.collate(rows, 0).to(device)
    head.settle()
    found = head.topk(recipe.encoder.views(batch).float(), ASKED)
    for module, mode in modes:
        module.train(mode)
    for name, tensor, dtype in (("ids", found.ids, torch.int64), ("scores", found.scores, torch.float32)):
        if tensor.shape != (len(batch), ASKED) or tensor.dtype != dtype:
            raise SettingError(
                f"{type(head).__name__}.topk of {len(batch)} texts and k = {ASKED} returned {name} of shape "
                f"{tuple(tensor.shape)} and {tensor.dtype}",
                wanted=f"shape ({len(batch)}, {ASKED}) and {dtype}, padded with -1 and -inf",
                next_step=f"correct {type(head).__name__}.topk",
                where="topk",
            )


def _encoder_of(recipe: Recipe, config: dict[str, Any]) -> nn.Module:
    return type(recipe.encoder).from_config(config, recipe.encoder.tokenizer, Path())


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}


def _said(shapes: dict[str, tuple[tuple[int, ...], torch.dtype]], name: str) -> str:
    if name not in shapes:
        return f"no tensor {name!r}"
    shape, dtype = shapes[name]
    return f"a tensor {name!r} of shape {shape} and {dtype}"
