"""What each token of a text contributes to a number that is computed from the views of the text.

Integrated gradients (Sundararajan, Taly and Yan, ICML 2017): the contribution of a token is its input times the
mean gradient on a straight way from a text without words to the text, so that contributions add up to the
difference of the two values. The way of a `Bag` begins after its first norm, whose divisor is that of the text:
up to there the sum of the token vectors is linear, and behind it the way is one line, on which the integral is
computed in float64 until the sum is exact. The way of a transformer moves the embeddings of all tokens, except
special ones, from the mask token (or the unknown token, or zeros); the number of steps doubles until the sum fits
within a hundredth, 256 at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.encoders.bag import Bag
from megalabel.encoders.base import Encoder
from megalabel.encoders.frozen import Frozen
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError

Score = Callable[[Tensor], Tensor]  # views (B, V, D) to a number per text (B,), in the dtype of the views

TOLERANCE = 1e-7  # of a bag, relative to the values
CLOSE = 0.01  # of a transformer, relative to the difference that is explained
FIRST_STEPS, MOST_STEPS = 16, 256
POINTS = 8  # of the quadrature, in each piece of the way
DEPTH, MOST_PIECES = 24, 1 << 10  # pieces of the way of a bag, which halve towards its beginning
AT_ONCE = 32  # texts that a transformer encodes at once


class Contributions(NamedTuple):
    """What tokens add to a value.

    values: (T,) float64, the contribution of each token. base: the value without words. value: that of the text;
    base and values sum to it up to an error of integration.
    """

    values: np.ndarray
    base: float
    value: float


def token_contributions(encoder: Encoder, ids: list[int], special: np.ndarray, score: Score) -> Contributions:
    """The contributions of the tokens of one text.

    Args:
        encoder: a `Bag`, a `Transformer` or one of them in `Frozen`, in evaluation mode.
        ids: the T tokens of the text.
        special: (T,) bool, which tokens the tokenizer added; they stay in a text without words.
        score: what is explained.

    Raises:
        SettingError: another encoder, or a text that the encoder reads in several windows.
    """
    if isinstance(encoder, Frozen):
        outer = encoder

        def finished(views: Tensor) -> Tensor:
            return score(views if outer.block is None else _double(outer.block, views))

        return token_contributions(encoder.inside, ids, special, finished)
    if isinstance(encoder, Bag):
        return _of_bag(encoder, ids, score)
    if isinstance(encoder, Transformer):
        return _of_transformer(encoder, ids, special, score)
    raise SettingError(
        f"an explanation of a {type(encoder).__name__}",
        wanted="an encoder of the kind bag or transformer",
        where="encoder",
    )


def _double(module: nn.Module, x: Tensor) -> Tensor:
    """A module applied with its parameters in the dtype of x."""
    parameters = {name: p.detach().to(x.dtype) for name, p in module.named_parameters()}
    found: Tensor = torch.func.functional_call(module, parameters, (x,))
    return found


def _of_bag(bag: Bag, ids: list[int], score: Score) -> Contributions:
    """Those of a bag; a bigram is divided between its two tokens."""
    vectors, owners = bag.weighted_vectors(ids)
    norm = bag.norm
    centered = vectors - vectors.mean(dim=1, keepdim=True)
    total = centered.sum(dim=0)
    weight, bias = norm.weight.detach().double(), norm.bias.detach().double()
    # Each token's part of the normalized vector, without the bias.
    parts = weight * centered / torch.sqrt(total.square().mean() + norm.eps)
    direction = parts.sum(dim=0)

    def value(x: Tensor) -> Tensor:
        views = torch.stack([_double(block, x) for block in bag.blocks], dim=1)
        return score(views if bag.widen is None else _double(bag.widen, views))

    with torch.no_grad():
        base, last = value(torch.stack([bias, bias + direction])).tolist()
    slope = _mean_slope(value, bias, direction, last - base, TOLERANCE * max(1.0, abs(last)))
    found = np.zeros(len(ids))
    halves = (parts @ slope).numpy() / 2
    np.add.at(found, owners, np.stack([halves, halves]))
    return Contributions(found, base, last)


def _mean_slope(value: Score, start: Tensor, direction: Tensor, change: float, tolerance: float) -> Tensor:
    """The mean gradient of a function on the way from `start` to `start + direction`: (D,) float64.

    The pieces of the way halve towards its beginning, where a norm of a short vector turns it quickly, and each is
    halved until the integral is the change of the value.
    """
    edges = np.concatenate([[0.0], 0.5 ** np.arange(DEPTH, -1, -1)])
    while True:
        a, da = _points(edges)
        slope = torch.zeros_like(direction)
        for part in torch.arange(len(a)).split(512):
            with torch.enable_grad():
                x = (start + a[part, None] * direction).requires_grad_()
                gradient = torch.autograd.grad(value(x).sum(), x)[0]
            slope += da[part] @ gradient
        if abs(float(slope @ direction) - change) <= tolerance or len(edges) > MOST_PIECES:
            return slope
        edges = np.sort(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))


def _of_transformer(encoder: Transformer, ids: list[int], special: np.ndarray, score: Score) -> Contributions:
    if encoder.windows > 1 and len(ids) > encoder.window_length:
        raise SettingError(
            f"an explanation of a text of {len(ids)} tokens, which are read in windows",
            wanted=f"at most {encoder.window_length} tokens",
            next_step="explain a part of the text",
            where="text",
        )
    table = encoder.model.get_input_embeddings()  # type: ignore[operator]
    device = table.weight.device
    tokens = torch.tensor([ids or [encoder.tokenizer.pad_id]], device=device)
    mask = torch.full(tokens.shape, bool(ids), device=device)
    moving = torch.from_numpy(~special if ids else np.zeros(1, bool)).to(device)
    with torch.no_grad():
        full = table(tokens)[0]
        empty = torch.where(moving[:, None], _nothing(encoder, table), full)
        base, last = (float(_scores(encoder, table, x[None], tokens, mask, score)) for x in (empty, full))
    change = full - empty
    steps = FIRST_STEPS
    while True:
        values = torch.zeros(len(full), dtype=torch.float64)
        points, weights = _points(np.linspace(0, 1, steps // POINTS + 1))
        for a, da in zip(points.split(AT_ONCE), weights.split(AT_ONCE), strict=True):
            a, da = a.to(full), da.to(full.device)
            with torch.enable_grad():
                x = (empty + a[:, None, None] * change).requires_grad_()
                gradient = torch.autograd.grad(_scores(encoder, table, x, tokens, mask, score).sum(), x)[0]
            values += ((gradient * change).sum(dim=2).double() * da[:, None]).sum(dim=0).cpu()
        if abs(float(values.sum()) - (last - base)) <= CLOSE * abs(last - base) or steps >= MOST_STEPS:
            return Contributions(values.numpy()[: len(ids)], base, last)
        steps *= 2


def _scores(
    encoder: Transformer, table: nn.Module, x: Tensor, tokens: Tensor, mask: Tensor, score: Score
) -> Tensor:
    """The numbers (B,) of texts whose token embeddings are x (B, T, H)."""
    hook = table.register_forward_hook(lambda module, args, output: x)
    try:
        views = encoder(tokens.expand(len(x), -1), mask.expand(len(x), -1))
    finally:
        hook.remove()
    return score(views.double()).double()


def _points(edges: np.ndarray) -> tuple[Tensor, Tensor]:
    """The points and weights of Gauss-Legendre quadrature, POINTS for each piece between two of E edges.

    Both are of shape ((E - 1) · POINTS,), float64.
    """
    points, weights = np.polynomial.legendre.leggauss(POINTS)
    widths = np.diff(edges)
    a = torch.from_numpy((edges[:-1, None] + widths[:, None] * (points + 1) / 2).ravel())
    da = torch.from_numpy((widths[:, None] * weights / 2).ravel())
    return a, da


def _nothing(encoder: Transformer, table: nn.Module) -> Tensor:
    """The embedding (H,) of a token that says nothing."""
    weight: Tensor = table.weight  # type: ignore[assignment]
    token = encoder.tokenizer.tokenizer.token_to_id("[MASK]")
    token = encoder.tokenizer.tokenizer.token_to_id("<mask>") if token is None else token
    token = encoder.tokenizer.unknown_id if token is None else token
    return torch.zeros_like(weight[0]) if token is None else weight[token]
