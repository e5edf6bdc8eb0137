"""When a sparse layer exchanges its connections, which it gives up, and for what."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor

from megalabel.errors import SettingError
from megalabel.heads.checks import check_arguments
from megalabel.kernels.fan_in import regrow, rewire

PRUNE = ("threshold", "fraction")
SCOPES = ("layer", "group")
GROWTH = ("random", "gradient")
STARTS = ("zero", "uniform")
LAST_THRESHOLD = 1e-4  # where the annealed threshold ends (Spartex, its code)


@dataclass(frozen=True)
class Rewiring:
    """The weakest connections are dropped every so often, and each is replaced by a new one.

    Source: sparse evolutionary training as in Spartex (NeurIPS 2024, section 3; its code for the defaults). A
    connection that a group of labels shares is as strong as the root mean square of their weights.

    Attributes:
        every: optimizer steps between two rewirings, 1 or more; the first comes after that many steps.
        until: optimizer steps after which connections stay as they are (the paper: 66% of a run).
        prune: "threshold" drops what is weaker than `threshold`, "fraction" that share of all connections.
        threshold: of a weight's absolute value, above 0.
        anneal: let the threshold fall along half a cosine, from its value at step 0 to 1e-4 at `until`.
        fraction: above 0 and below 1.
        scope: of a fraction: the weakest of the whole "layer", or of each label or "group" of labels.
        growth: new inputs are drawn at "random", or are the ones of `tried` random inputs whose weight would have
            the largest gradient ("gradient"; Evci et al., RigL, ICML 2020, but without a dense gradient).
        tried: how many inputs a label or group tries, D at most; 0 for half its fan-in, at least 8.
        start: a new weight is "zero", or "uniform" within ±1/√F as at the start.
        keep_moments: keep the optimizer's state of the old connection for the new one, as published; by default it
            is reset, so that the new connection does not move where the old one went.
        distinct: never connect a label or group twice to one input; False is the paper. Growth by gradient never
            does.
        seed: of all that is drawn.

    Raises:
        SettingError: a value that cannot be right.
    """

    every: int
    until: int
    prune: str = "threshold"
    threshold: float = 0.01
    anneal: bool = True
    fraction: float = 0.15
    scope: str = "layer"
    growth: str = "random"
    tried: int = 0
    start: str = "zero"
    keep_moments: bool = False
    distinct: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        choices = (
            ("prune", self.prune, PRUNE),
            ("scope", self.scope, SCOPES),
            ("growth", self.growth, GROWTH),
            ("start", self.start, STARTS),
        )
        check_arguments(*((name, word, " or ".join(words), word in words) for name, word, words in choices))
        check_arguments(
            ("every", self.every, "1 or more steps between rewirings", self.every >= 1),
            ("until", self.until, "a step, 0 or more", self.until >= 0),
            ("threshold", self.threshold, "a number above 0", 0 < self.threshold < math.inf),
            ("fraction", self.fraction, "a fraction above 0 and below 1", 0 < self.fraction < 1),
            ("tried", self.tried, "a number of inputs, or 0 for half the fan-in", self.tried >= 0),
        )

    def due(self, step: int) -> bool:
        """Whether connections change after optimizer step `step`, counted from 0."""
        return (step + 1) % self.every == 0 and step + 1 <= self.until

    def threshold_at(self, step: int) -> float:
        """The threshold after optimizer step `step`."""
        if not self.anneal:
            return self.threshold
        last = min(LAST_THRESHOLD, self.threshold)
        return last + (self.threshold - last) * 0.5 * (
            1 + math.cos(math.pi * min((step + 1) / max(self.until, 1), 1.0))
        )

    def check(self, fan_in: int, dim: int, group: int) -> None:
        """SettingError where a layer of this shape could not be rewired.

        First weights are uniform within ±1/√F, so that of a group's shared connections all have a strength near
        1/√(3F): a higher threshold would drop all of them.
        """
        highest = 1 / math.sqrt(fan_in) if group == 1 else 1 / math.sqrt(3 * fan_in)
        if self.prune == "threshold" and self.threshold >= highest:
            raise SettingError(
                f"threshold = {self.threshold:g}: with fan_in = {fan_in} the first weights have a strength below "
                f"{highest:.3g}, so that all would be dropped",
                wanted=f"a threshold below {highest:.3g}",
                next_step="lower it, for example to a tenth of that, or prune by fraction",
                where="threshold",
            )
        if self.prune == "fraction" and self.scope == "group" and self.fraction * fan_in < 2:
            raise SettingError(
                f"fraction = {self.fraction:g} of fan_in = {fan_in}: what is weaker than the k-th weakest of "
                f"{fan_in} is dropped, k = {int(self.fraction * fan_in)}, so that nothing ever would be",
                wanted=f"a fraction of {2 / fan_in:.3g} or more",
                next_step="raise it, or take the weakest of the whole layer",
                where="fraction",
            )
        if self.distinct and fan_in >= dim:
            raise SettingError(
                f"fan_in = {fan_in} of {dim} inputs: every label is connected to all of them",
                wanted="a fan_in below the width of the embedding where connections are to be rewired",
                next_step="lower fan_in, or leave rewiring out",
                where="fan_in",
            )

    def n_tried(self, fan_in: int, dim: int) -> int:
        """How many inputs a label or group tries where growth goes by gradient."""
        return min(self.tried or max(fan_in // 2, 8), dim)


def exchange(
    rewiring: Rewiring,
    step: int,
    weight: Tensor,
    inputs: Tensor,
    dim: int,
    group: int,
    *,
    states: list[Tensor],
    gradients: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Changes connections in place, after optimizer step `step`.

    Args:
        rewiring: how.
        step: counted from 0; with the seed it decides what is drawn.
        weight: (L, F); new connections get their start.
        inputs: (⌈L / group⌉, F).
        dim: D, how many inputs there are.
        group: labels that share a row of inputs.
        states: moments of the weights, (L, F) each, which become 0 for new connections.
        gradients: of candidate inputs (M, C), how large the gradient of a connection to each would be (M, C); None
            to draw new inputs at random.

    Returns:
        (M, F) bool, the connections that are new.

    Raises:
        SettingError: the threshold would drop every connection; weights that are not finite.
    """
    by_threshold = rewiring.prune == "threshold"
    slots = rewire.weak(
        weight,
        group,
        below=rewiring.threshold_at(step) if by_threshold else None,
        share=None if by_threshold else rewiring.fraction,
        scope=cast(Literal["layer", "group"], rewiring.scope),
    )
    if bool(slots.all()):
        raise SettingError(
            f"the rewiring after step {step:,} would drop all {slots.numel():,} connections",
            wanted="a threshold that some connections pass",
            next_step=f"lower the threshold from {rewiring.threshold:g}, or prune by fraction",
            where="threshold",
        )
    seed, start = rewiring.seed, cast(Literal["zero", "uniform"], rewiring.start)
    if gradients is None:
        regrow.regrow(inputs, slots, dim, seed=seed, step=step, distinct=rewiring.distinct)
    else:
        tried = regrow.candidates(inputs, slots, dim, rewiring.n_tried(inputs.shape[1], dim), seed=seed, step=step)
        regrow.regrow_by(inputs, slots, tried, gradients(tried))
    rewire.restart(weight, slots, group, start=start, seed=seed, step=step, states=states)
    return slots
