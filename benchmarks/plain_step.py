"""A step of the dense head as a user of PyTorch would write it, for `torch.compile`: the rival of the kernels.

One function does what the kernel does to a chunk of labels: reads narrow weights, multiplies, subtracts the
targets before anything is rounded, adds to the gradient of the embeddings, moves the weights by SGD with decay and
rounds them stochastically. Chunks bound the memory; all have one size but the last, so two graphs are compiled.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from megalabel.kernels.core.dtypes import WeightType

Step = Callable[..., tuple[Tensor, Tensor, Tensor | None]]


def chunk_step(
    x: Tensor, codes: Tensor, exponents: Tensor | None, y: Tensor, kind: WeightType, lr: float, decay: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradient of the embeddings (B, D) float32, and the new codes and exponents of a chunk of n labels.

    Args:
        x: embeddings (B, D), of the dtype of the products.
        codes: (n, D) of `kind.dtype`.
        exponents: (n,) int8 of rows of float8; None for other types.
        y: targets (n, B) float32.
        kind: the type of the weights.
        lr, decay: learning rate and weight decay.
    """
    w = codes.float()
    if exponents is not None:
        w = w * torch.exp2(exponents.float())[:, None]
    read = w.to(x.dtype)
    g = (torch.sigmoid((read @ x.t()).float()) - y).to(x.dtype)
    embedding = (g.t() @ read).float()
    new = w * (1 - lr * decay) - lr * (g @ x).float()
    if exponents is None:
        return embedding, rounded(new, kind).to(kind.dtype), None
    most = new.abs().amax(1).clamp_min(2.0**-100)
    own = torch.ceil(torch.log2(most / kind.largest))
    scaled = new * torch.exp2(-own)[:, None]
    return embedding, rounded(scaled, kind).to(kind.dtype), own.to(torch.int8)


def rounded(values: Tensor, kind: WeightType) -> Tensor:
    """Values on the grid of a type, rounded stochastically; float32 stays as it is."""
    if kind.dtype == torch.float32:
        return values
    size = values.abs()
    exponent = torch.floor(torch.log2(size.clamp_min(2.0**-120))).clamp_min(kind.min_exponent)
    spacing = torch.exp2(exponent - kind.mantissa_bits)
    steps = torch.floor(size / spacing + torch.rand_like(size))
    return (steps * spacing).clamp_max(kind.largest).copysign(values)


class PlainStep:
    """The step on whole tables, in place.

    Args:
        texts: positives as texts (P,) and labels (P,) int64, by label.
        chunk: labels at a time.
        step: `chunk_step`, or what `torch.compile` makes of it.
    """

    def __init__(self, texts: Tensor, labels: Tensor, chunk: int, step: Step = chunk_step) -> None:
        order = labels.argsort(stable=True)
        self.texts, self.labels, self.chunk, self.step = texts[order], labels[order], chunk, step
        self.starts: list[int] = []

    @torch.no_grad()
    def __call__(
        self, x: Tensor, codes: Tensor, exponents: Tensor | None, kind: WeightType, lr: float, decay: float
    ) -> Tensor:
        """Moves the weights, and returns the gradient of the embeddings (B, D) float32."""
        total = torch.zeros(x.shape, device=x.device)
        y = torch.empty(min(self.chunk, len(codes)), len(x), device=x.device)
        if not self.starts:
            cuts = torch.arange(0, len(codes) + self.chunk, self.chunk, device=x.device)
            self.starts = torch.searchsorted(self.labels, cuts).tolist()
        for i, start in enumerate(range(0, len(codes), self.chunk)):
            part, own = slice(start, min(start + self.chunk, len(codes))), slice(*self.starts[i : i + 2])
            targets = y[: part.stop - start].zero_()
            targets[self.labels[own] - start, self.texts[own]] = 1
            scales = None if exponents is None else exponents[part]
            gradient, new, new_scales = self.step(x, codes[part], scales, targets, kind, lr, decay)
            total += gradient
            codes.view(torch.uint8)[part] = new.view(torch.uint8)  # copies of float8 are not everywhere supported
            if exponents is not None and new_scales is not None:
                exponents[part] = new_scales
        return total
