"""Scores, loss and top k of a layer in which each label is connected to F inputs, with a fused backward pass.

    z[b, l] = bias[l] + Σ_j weight[l, j] · x[b, inputs[l // G, j]]
    loss    = scale · Σ_b Σ_l ℓ(z[b, l], y[b, l]),   y = 1 on the positives; ℓ as in `label_loss.py`
    ∂loss/∂x[b, inputs[l // G, j]] += dz[b, l] · weight[l, j]
    ∂loss/∂weight[l, j] = Σ_b dz[b, l] · x[b, inputs[l // G, j]],   ∂loss/∂bias[l] = Σ_b dz[b, l]

The weights of an input that occurs twice among a label's inputs add up. The layer equals a dense one with weights
W[l, inputs[l // G, j]] += weight[l, j] and zeros elsewhere. Sources: Schultheis and Babbar (ECML 2023) and Spartex
(NeurIPS 2024) for G = 1; HASTE (ICML 2026) for labels that share their inputs.

A training step is one pass over the labels. For each label, or group of labels, it computes the logits, their
gradient, the contribution to the embedding's gradient and the weights' gradient, and applies the update rule if
there is one, while all of these are in the caches. dx is computed from the weights before the update. A label
whose dz is 0 for all texts, as is common under the squared hinge later in training, is finished after its logits;
the same holds for each block of texts. If the value of the loss is requested, the forward pass computes the logits
once more.

There are two ways to train, as in `all_labels_loss`: with a rule (`SGDRule`, `AdamRule`, …), the backward pass
updates those of weight and bias that require a gradient in place, and divides the upstream gradient by
`step.loss_scale`; without one, it sets weight.grad and bias.grad.

Lower bound of a step's time on two cores with AVX2: 6·B·L·F operations on inputs in the caches at 80 GFLOP/s,
0.103 s for L = 670,091, F = 32, B = 64, D = 768. Weights and optimizer state are read and written once and inputs
are read once: 0.22 GB (SGD) to 0.57 GB (Adam) for these sizes, at 34 GB/s between a sixteenth and a sixth of that
time. The inputs of a group are loaded from the cache once for all its labels, so that arithmetic dominates.

Memory of a step, in bytes, with N threads:
    4·L·(F + 1)          weights and biases; w·L·F + 4·L for weights in bfloat16 (w = 2) and float8 (w = 1 + 1/F)
    s·⌈L / G⌉·F          inputs, s = 1 for D ≤ 256, 2 for D ≤ 32,768, else 4
    k·4·L·(F + 1)        optimizer state of the rule: k = 0 for SGD, 1 with momentum or several micro-batches per
                         step, 2 for Adam, 3 for Adam with several micro-batches; gradients, k = 1, without a rule
    2·C·F                what was cut off C compensated labels
    4·(N + 5)·D·B        the embedding, transposed and in blocks, and its gradient for each thread
Computing the value of the loss adds chunks of logits, about 2 MB per thread.

Implementations: numba on CPUs (`_cpu/fixed_fan_in.py`) and Triton on CUDA (`_triton/fixed_fan_in.py`), both for
float32, and the former for narrow weights; `plain.py`, which densifies a chunk of labels at a time, in all other
cases. Each offers the functions of `plain.py` with the same arguments: xt (D, B) contiguous, the embedding
transposed, of the layer's dtype; a checked `FanIn`; places (P,) int64, the positives as label · B + text, strictly
increasing. The function `plain` defines the results; the tests compare every implementation with it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.all_labels import label_loss
from megalabel.kernels.all_labels.label_pass import Chunks, PositiveCells
from megalabel.kernels.all_labels.streaming_topk import topk_of
from megalabel.kernels.core.checks import check_own_memory
from megalabel.kernels.fan_in.autograd import Task, implementation, loss_of, own_dtype, scores, transposed
from megalabel.kernels.fan_in.connections import input_dtype
from megalabel.kernels.fan_in.layer import FanIn
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.updates.rule import ONLY_PART, StepContext, UpdateRule, check_weight_type
from megalabel.types import Positives, TopK

__all__ = ["densify", "fan_in_growth", "fan_in_loss", "fan_in_scores", "fan_in_topk", "input_dtype", "plain"]


def densify(weight: Tensor, inputs: Tensor, dim: int, group: int = 1) -> Tensor:
    """The weights (L, D) of the equivalent dense layer; duplicate inputs are summed. Differentiable by weight."""
    return FanIn(weight, None, inputs, group, dim).dense(0, len(weight))


def plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    inputs: Tensor,
    positives: Positives,
    *,
    group: int = 1,
    loss: str = "squared_hinge",
    scale: float = 1.0,
) -> Tensor:
    """The same loss as one dense expression for autograd; needs memory for W (L, D) and for B × L matrices."""
    z = x.to(weight.dtype) @ densify(weight, inputs, x.shape[1], group).t()
    return scale * label_loss.plain(loss, z if bias is None else z + bias, positives)


def fan_in_scores(x: Tensor, weight: Tensor, bias: Tensor | None, inputs: Tensor, group: int = 1) -> Tensor:
    """The logits of all labels, differentiable by x, weight and bias without densifying the weights.

    Args:
        x: embeddings (B, D), any floating type.
        weight: (L, F) float32 or float64.
        bias: (L,) of the same type, or None.
        inputs: (⌈L / group⌉, F) of `input_dtype(D)`, from 0 to D − 1.
        group: G, how many neighboring labels share a row of inputs.

    Returns:
        (B, L) in the dtype of the weights.

    Raises:
        SettingError: shapes, dtypes, devices or indices do not fit.
    """
    layer = FanIn.checked(x, weight, bias, inputs, group)
    return scores(x, weight, bias, layer)


def fan_in_loss(
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    inputs: Tensor,
    positives: Positives,
    *,
    group: int = 1,
    loss: str = "squared_hinge",
    scale: float = 1.0,
    rule: UpdateRule | None = None,
    step: StepContext = ONLY_PART,
    value: bool = True,
) -> Tensor:
    """A loss over all texts and labels: scale times the sum of `label_loss.py`.

    Args:
        x: embeddings (B, D), any floating type.
        weight: (L, F) float32 or float64. Or a `NarrowTable`, whose weights only a rule can train, such as
            `NarrowSGDRule` or `NarrowAdagradRule`: a chunk of them at a time is read as float32, and rounded after
            the update.
        bias: (L,) of the same type, float32 beside a narrow table; or None.
        inputs: (⌈L / group⌉, F) of `input_dtype(D)`, from 0 to D − 1.
        positives: the pairs whose target is 1; in any order, a pair that occurs twice counts once. Their
            `weights`, if there are any, are the factors of the texts' losses.
        group: G, how many neighboring labels share a row of inputs.
        loss: "squared_hinge" or "bce".
        scale: factor of the sum; 1 / (B · L) gives the mean.
        rule: the update rule that the backward pass applies in place; None for ordinary gradients.
        step: the position of this micro-batch within its optimizer step, passed to the rule.
        value: whether to compute the value of the loss. Under no_grad it is always computed.

    Returns:
        A scalar in the dtype of the weights, float32 for narrow ones; NaN, but connected to the graph, if `value`
        is False.

    Raises:
        SettingError: shapes, dtypes, devices, indices or numbers do not fit; weights that a rule is to update
            share memory; or training has diverged: the embeddings, the loss or the embedding's gradient are not
            finite.
        DataError: a positive pair outside (B, L).
    """
    layer = FanIn.checked(x, weight, bias, inputs, group)
    places = _places(layer, x, positives, loss)
    if not math.isfinite(scale):
        raise SettingError(f"scale={scale}", wanted="a finite number", next_step="leave it at 1", where="scale")
    given = weight.codes if isinstance(weight, NarrowTable) else weight
    if layer.table is not None and given.requires_grad:
        check_weight_type(given, rule)
    if rule is not None:
        check_own_memory(given, bias)
    wanted = value or not torch.is_grad_enabled()
    weights = _text_weights(layer, positives)
    return loss_of(x, given, bias, Task(layer, places, loss, scale, wanted, rule, step, weights))


@torch.no_grad()
def fan_in_topk(
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    inputs: Tensor,
    k: int,
    exclude: Positives | None = None,
    *,
    group: int = 1,
    row_to_label: Tensor | None = None,
) -> TopK:
    """Exact top k over all labels without a matrix of all scores; arguments and errors as in `streaming_topk`.

    row_to_label: (L,) int64, the label of each row of the weights; None if row i is label i.
    """
    layer = FanIn.checked(x, weight, bias, inputs, group)
    xt, body = transposed(x, layer), implementation(layer)

    def score(start: int, stop: int) -> Tensor:
        with own_dtype(xt):
            z: Tensor = body.scores(xt, layer, start, stop)
        return z.float().t()

    return topk_of(
        score,
        layer.n_labels,
        len(x),
        k,
        exclude,
        device=x.device,
        width=layer.weight.shape[1],
        row_to_label=row_to_label,
    )


@torch.no_grad()
def fan_in_growth(
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    inputs: Tensor,
    positives: Positives,
    candidates: Tensor,
    *,
    group: int = 1,
    loss: str = "squared_hinge",
) -> Tensor:
    """The gradient norm that a connection to each candidate input would have (RigL, Evci et al., 2020).

    candidates: (M, C), input indices of the same dtype as `inputs`.

    Returns:
        (M, C) in the dtype of the weights, float32 for narrow ones: the square root of Σ over the group's labels
        of (Σ_b dz[b, l] x[b, candidate])².

    Raises:
        SettingError, DataError: as in `fan_in_loss`.
    """
    layer = FanIn.checked(x, weight, bias, inputs, group)
    layer.check_like_inputs(candidates, "candidates")
    places = _places(layer, x, positives, loss)
    xt = transposed(x, layer)
    with own_dtype(xt):
        found: Tensor = implementation(layer).growth(
            xt, layer, loss, places, candidates, _text_weights(layer, positives)
        )
    return found


def _text_weights(layer: FanIn, positives: Positives) -> Tensor | None:
    return None if positives.weights is None else positives.weights.to(layer.dtype)


def _places(layer: FanIn, x: Tensor, positives: Positives, loss: str) -> Tensor:
    label_loss.check_loss(loss)
    n = layer.n_labels
    return PositiveCells.from_positives(positives, len(x), Chunks(n, n, [range(1)])).cells
