"""Update rules as named tuples for compiled code.

Each kind of update has a tuple of arrays (in compiled code, pointers to them) and float32 numbers; numba compiles
the pass once for each combination of tuple types.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.updates._cpu.adagrad import AdagradNumbers, adagrad_numbers
from megalabel.kernels.updates._cpu.adam import AdamNumbers, adam_numbers
from megalabel.kernels.updates.adagrad import AdagradSettings
from megalabel.kernels.updates.adagrad_rule import AdagradRule
from megalabel.kernels.updates.adam import AdamSettings
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.narrow_adagrad_rule import NarrowAdagradRule
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.kernels.updates.rule import StepContext, UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule


class WriteGradients(NamedTuple):
    """Return the gradients without updating anything."""

    gradient: Any  # where they are written
    times: np.float32  # their factor


class SGD(NamedTuple):
    """SGD without a buffer."""

    parameter: Any
    rate: np.float32  # lr times the factor of the gradients
    keep: np.float32  # 1 − lr · weight decay


class BufferedSGD(NamedTuple):
    """SGD with a buffer: with momentum, or over several micro-batches."""

    parameter: Any
    buffer: Any
    times: np.float32
    fraction: np.float32  # factor of the buffer when gradients are added
    last: bool  # whether the parameter is updated after this micro-batch
    lr: np.float32
    decay: np.float32


class Adam(NamedTuple):
    """Adam, in a step of one micro-batch."""

    parameter: Any
    mean: Any
    square: Any
    times: np.float32
    rate: np.float32  # lr / (1 − β₁ᵗ)
    over_root: np.float32  # 1 / √(1 − β₂ᵗ)
    numbers: AdamNumbers


class SummedAdam(NamedTuple):
    """Adam, in a step of several micro-batches, whose gradients are summed."""

    adam: Adam
    gradient: Any
    fraction: np.float32  # factor of the buffer: 0 in the first micro-batch, else 1
    last: bool


class Adagrad(NamedTuple):
    """Row-wise Adagrad, in a step of one micro-batch."""

    parameter: Any
    total: Any  # an accumulator per label
    width: int  # parameters per label: F, or 1 for biases
    times: np.float32
    numbers: AdagradNumbers


class SummedAdagrad(NamedTuple):
    """Row-wise Adagrad, in a step of several micro-batches, whose gradients are summed."""

    adagrad: Adagrad
    gradient: Any
    fraction: np.float32  # as in SummedAdam
    last: bool


Update: TypeAlias = WriteGradients | SGD | BufferedSGD | Adam | SummedAdam | Adagrad | SummedAdagrad


def compiled_rule(rule: UpdateRule | None) -> bool:
    """Whether the compiled pass supports this rule; user-defined rules are called from torch code instead."""
    return rule is None or type(rule) in (SGDRule, NarrowSGDRule, AdamRule, AdagradRule, NarrowAdagradRule)


def write_gradients(gradient: Tensor | None, times: float) -> WriteGradients | None:
    """Writes gradients to `gradient` (L, F) or (L,); None without one."""
    return None if gradient is None else WriteGradients(_flat(gradient), np.float32(times))


def update_tuples(
    rule: UpdateRule, step: StepContext, times: float, weight: Tensor | None, bias: Tensor | None
) -> tuple[Update | None, Update | None]:
    """The tuples with which a prepared rule updates weight and bias; None for a frozen parameter."""
    if isinstance(rule, AdamRule):
        of_weight = [weight, rule.mean, rule.square, rule.gradient]
        of_bias = [bias, rule.bias_mean, rule.bias_square, rule.bias_gradient]
        return (
            None if weight is None else _by_adam(rule.settings, rule.steps, step, times, *map(_flat, of_weight)),
            None if bias is None else _by_adam(rule.bias_settings, rule.steps, step, times, *map(_flat, of_bias)),
        )
    if isinstance(rule, AdagradRule):
        own, of_its_bias = (weight, rule.total, rule.gradient), (bias, rule.bias_total, rule.bias_gradient)
        return (
            None if weight is None else _by_adagrad(rule.settings, step, times, *own),
            None if bias is None else _by_adagrad(rule.bias_settings, step, times, *of_its_bias),
        )
    assert isinstance(rule, SGDRule)
    return (
        None if weight is None else _by_sgd(rule, step, times, weight, rule.buffer, rule.weight_decay),
        None if bias is None else _by_sgd(rule, step, times, bias, rule.bias_buffer, rule.bias_decay),
    )


def _by_adam(
    settings: AdamSettings,
    steps: int,
    step: StepContext,
    times: float,
    parameter: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    gradient: np.ndarray,
) -> Update:
    rate, over_root = np.float32(settings.rate(steps)), np.float32(1 / settings.root(steps))
    whole = Adam(parameter, mean, square, np.float32(times), rate, over_root, adam_numbers(settings))
    return whole if step.single else SummedAdam(whole, gradient, np.float32(not step.first), step.last)


def _by_adagrad(
    settings: AdagradSettings,
    step: StepContext,
    times: float,
    parameter: Tensor | None,
    total: Tensor | None,
    gradient: Tensor | None,
) -> Update:
    assert parameter is not None
    width = parameter.shape[1] if parameter.ndim == 2 else 1
    numbers = adagrad_numbers(settings)
    whole = Adagrad(_flat(parameter), _flat(total), width, np.float32(times), numbers)
    return whole if step.single else SummedAdagrad(whole, _flat(gradient), np.float32(not step.first), step.last)


def _by_sgd(
    rule: SGDRule, step: StepContext, times: float, parameter: Tensor, buffer: Tensor | None, decay: float
) -> Update:
    lr, factor = np.float32(rule.lr), np.float32(times)
    if not rule.buffered(step):
        return SGD(_flat(parameter), factor * lr, np.float32(1 - rule.lr * decay))
    fraction = np.float32(rule.kept_fraction(step))
    return BufferedSGD(_flat(parameter), _flat(buffer), factor, fraction, step.last, lr, np.float32(decay))


def _flat(tensor: Tensor | None) -> np.ndarray:
    """The numbers of a tensor; none of a narrow one, which the pass reads in parts (`narrow.py`)."""
    there = tensor is not None and tensor.dtype == torch.float32
    return tensor.view(-1).numpy() if there and tensor is not None else np.empty(0, np.float32)
