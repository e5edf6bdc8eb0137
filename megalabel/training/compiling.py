"""Compiles the transformers of a recipe by `torch.compile`, or says why that cannot be done here."""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import torch

from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError
from megalabel.training.optim.adamw_8bit import is_8bit

if TYPE_CHECKING:
    from megalabel.training.recipe import Recipe

COMPILERS = ("c++", "g++", "clang++", "icpx", "cl")


def compile_transformers(recipe: Recipe, device: torch.device, backend: str = "inductor") -> int:
    """Compiles the Hugging Face model inside each `Transformer` if the recipe says so; returns how many.

    Names of tensors and saved models stay as they are. Sizes of batches and texts are dynamic, so that they do not
    cause recompilations. An optimizer that compiles itself at its first step is checked.

    Raises:
        SettingError: there is no transformer, or what the compiler needs is missing.
    """
    check_compiled_optimizers(recipe, device)
    if not recipe.compile:
        return 0
    parts = (part for module in recipe.modules().values() for part in module.modules())
    found: dict[int, Any] = {id(part.model): part.model for part in parts if isinstance(part, Transformer)}
    if not found:
        raise SettingError(
            "no transformer to compile",
            wanted="an encoder that is a transformer",
            next_step="leave compile out",
            where="compile",
        )
    check_compiler(device, backend)
    for model in found.values():
        model.compile(backend=backend, dynamic=True)
    return len(found)


def check_compiled_optimizers(recipe: Recipe, device: torch.device) -> None:
    """SettingError where an optimizer is compiled at its first step and that would fail."""
    if any(is_8bit(optimizer) for optimizer in recipe.optimizers.named.values()):
        check_compiler(device, where="encoder_optimizer", next_step="use encoder_optimizer = adamw")


def check_compiler(
    device: torch.device,
    backend: str = "inductor",
    *,
    where: str = "compile",
    next_step: str = "leave compile out",
) -> None:
    """SettingError about the option `where` if `torch.compile` would fail at the first step."""

    def refused(found: str, wanted: str) -> SettingError:
        return SettingError(found, wanted=wanted, next_step=next_step, where=where)

    try:
        from torch._dynamo.eval_frame import check_if_dynamo_supported

        check_if_dynamo_supported()
    except (ImportError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise refused(f"torch.compile does not work here ({reason})", "another Python") from error
    if backend != "inductor":
        return
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise refused("torch.compile needs the package triton on a GPU", "triton installed")
        if torch.cuda.get_device_capability(device) < (7, 0):
            raise refused("a GPU of compute capability below 7.0", "a newer GPU")
    elif not any(map(shutil.which, COMPILERS)):
        raise refused("torch.compile needs a C++ compiler on a CPU", "one of " + ", ".join(COMPILERS))
    try:
        _probe(device)
    except Exception as error:  # whatever the compiler and what it calls may raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise refused(f"torch.compile does not work here ({reason})", "a working compiler") from error


def _probe(device: torch.device) -> None:
    """Compiles one small function: headers may be missing, or the folder of the compiler's cache not writable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.compile(_doubled)(torch.ones(16, device=device))


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return x.sin() * 2
