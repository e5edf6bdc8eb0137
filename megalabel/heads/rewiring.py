"""How a sparse layer is rewired: when, which connections are pruned, and by what they are replaced."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, cast

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.heads.checks import check_arguments
from megalabel.kernels.fan_in import regrow, rewire
from megalabel.kernels.fan_in.restart import restart
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.types import Positives

PRUNE = ("threshold", "fraction")
SCOPES = ("layer", "group")
REGROW = ("random", "gradient")
REGROW_INITS = ("zero", "uniform")
LAST_THRESHOLD = 1e-4  # final value of the annealed threshold, as in the code of Spartex


@dataclass(frozen=True)
class Rewiring:
    """Settings of dynamic sparse training: every few steps the weakest connections are replaced.

    Source: sparse evolutionary training as in Spartex (NeurIPS 2024, section 3; its code for the defaults). The
    strength of a connection is the absolute value of its weight; where a group of labels shares the connection, it
    is the root mean square of their weights.

    Attributes:
        every: optimizer steps between two rewirings, 1 or more. The first one follows that many steps.
        until: optimizer steps after which connections no longer change (66% of the steps in the paper).
        prune: "threshold" prunes the connections weaker than `prune_threshold`, "fraction" the weakest ones.
        prune_threshold: a strength, above 0.
        anneal: whether the threshold decays along half a cosine, from `prune_threshold` at step 0 to 1e-4 at
            `until`.
        prune_fraction: fraction of the connections to prune, above 0 and below 1.
        prune_scope: whether the fraction is taken of the whole "layer", or of each label or "group" of labels.
        regrow: new inputs are drawn at "random", or are those of `regrow_candidates` random inputs whose weights
            have the largest gradients ("gradient"; RigL, Evci et al., ICML 2020, but without a dense gradient).
        regrow_candidates: candidate inputs per label or group, at most D; 0 for half the fan-in, at least 8.
        regrow_init: initial weights of new connections, "zero" or "uniform" in ±1/√F.
        keep_optimizer_state: whether a new connection inherits the optimizer state (moments) of the one it
            replaces, as in the paper; by default its state is reset to zero.
        distinct_inputs: whether to avoid connecting a label or group to the same input twice; False in the paper.
            Regrowth by gradient always avoids it.
        seed: seeds all random choices.

    Raises:
        SettingError: a value is out of range.
    """

    every: int
    until: int
    prune: str = "threshold"
    prune_threshold: float = 0.01
    anneal: bool = True
    prune_fraction: float = 0.15
    prune_scope: str = "layer"
    regrow: str = "random"
    regrow_candidates: int = 0
    regrow_init: str = "zero"
    keep_optimizer_state: bool = False
    distinct_inputs: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        choices = (
            ("prune", self.prune, PRUNE),
            ("prune_scope", self.prune_scope, SCOPES),
            ("regrow", self.regrow, REGROW),
            ("regrow_init", self.regrow_init, REGROW_INITS),
        )
        check_arguments(*((name, word, " or ".join(words), word in words) for name, word, words in choices))
        check_arguments(
            ("every", self.every, "1 or more steps between rewirings", self.every >= 1),
            ("until", self.until, "a step, 0 or more", self.until >= 0),
            ("prune_threshold", self.prune_threshold, "a number above 0", 0 < self.prune_threshold < math.inf),
            ("prune_fraction", self.prune_fraction, "a fraction above 0 and below 1", 0 < self.prune_fraction < 1),
            (
                "regrow_candidates",
                self.regrow_candidates,
                "a number of inputs, or 0 for half the fan-in",
                self.regrow_candidates >= 0,
            ),
        )

    def due(self, step: int) -> bool:
        """Whether connections are replaced after optimizer step `step`, counted from 0."""
        return (step + 1) % self.every == 0 and step + 1 <= self.until

    def threshold_at(self, step: int) -> float:
        """The threshold after optimizer step `step`."""
        if not self.anneal:
            return self.prune_threshold
        last = min(LAST_THRESHOLD, self.prune_threshold)
        return last + (self.prune_threshold - last) * 0.5 * (
            1 + math.cos(math.pi * min((step + 1) / max(self.until, 1), 1.0))
        )

    def check(self, fan_in: int, dim: int, group: int) -> None:
        """Raises SettingError if a layer of this shape cannot be rewired with these settings.

        Initial weights are uniform in ±1/√F, so the shared connections of a group all have a strength near
        1/√(3F), and a higher threshold would prune all of them.
        """
        highest = 1 / math.sqrt(fan_in) if group == 1 else 1 / math.sqrt(3 * fan_in)
        if self.prune == "threshold" and self.prune_threshold >= highest:
            raise SettingError(
                f"prune_threshold = {self.prune_threshold:g}: with fan_in = {fan_in} all initial weights have a "
                f"strength below {highest:.3g} and would be pruned",
                wanted=f"a threshold below {highest:.3g}",
                next_step="lower it, for example to a tenth of that, or use prune = 'fraction'",
                where="prune_threshold",
            )
        if self.prune == "fraction" and self.prune_scope == "group" and self.prune_fraction * fan_in < 2:
            raise SettingError(
                f"prune_fraction = {self.prune_fraction:g} of fan_in = {fan_in}: connections weaker than the k-th "
                f"weakest are pruned, with k = {int(self.prune_fraction * fan_in)} that is none",
                wanted=f"a fraction of {2 / fan_in:.3g} or more",
                next_step="raise it, or use prune_scope = 'layer'",
                where="prune_fraction",
            )
        if self.distinct_inputs and fan_in >= dim:
            raise SettingError(
                f"fan_in = {fan_in} of {dim} inputs: every label is connected to all of them",
                wanted="a fan_in below the width of the embedding, for rewiring",
                next_step="lower fan_in, or do without rewiring",
                where="fan_in",
            )

    def n_candidates(self, fan_in: int, dim: int) -> int:
        """The number of candidate inputs per label or group for regrowth by gradient."""
        return min(self.regrow_candidates or max(fan_in // 2, 8), dim)


def exchange(
    rewiring: Rewiring,
    step: int,
    weight: Tensor | NarrowTable,
    inputs: Tensor,
    dim: int,
    group: int,
    *,
    states: list[Tensor],
    gradients: Callable[[Tensor], Tensor] | None = None,
    first_label: int = 0,
    sums: rewire.Sums | None = None,
) -> Tensor:
    """Replaces connections in place, after optimizer step `step`.

    Args:
        rewiring: the settings.
        step: counted from 0; together with the seed it determines the random choices.
        weight: (L, F); those of new connections are initialized. A narrow table is read some rows at a time.
        inputs: (M, F) with M = ⌈L / group⌉.
        dim: D, the number of inputs.
        group: labels that share a row of inputs.
        states: moments of the weights, (L, F) each, of any floating type, which become 0 for new connections.
        gradients: maps candidate inputs (M, C) to the magnitudes (M, C) of the gradients that the weights of
            connections to them would have; None to draw new inputs at random.
        first_label: the number of the first label in the layer, on which the random choices depend.
        sums: sums over the processes that hold the other labels of the layer, see `rewire.weak`; None for none.

    Returns:
        (M, F) bool, True for new connections.

    Raises:
        SettingError: the threshold would prune every connection, or weights are not finite.
    """
    by_threshold = rewiring.prune == "threshold"
    slots = rewire.weak(
        weight,
        group,
        below=rewiring.threshold_at(step) if by_threshold else None,
        share=None if by_threshold else rewiring.prune_fraction,
        scope=cast(Literal["layer", "group"], rewiring.prune_scope),
        sums=sums,
    )
    _check_some_left(rewiring, slots, step, sums)
    if not len(slots):  # a process without labels
        return slots
    seed, start = rewiring.seed, cast(Literal["zero", "uniform"], rewiring.regrow_init)
    first = first_label // group
    if gradients is None:
        regrow.regrow(inputs, slots, dim, seed=seed, step=step, distinct=rewiring.distinct_inputs, first=first)
    else:
        candidates = regrow.candidates(
            inputs, slots, dim, rewiring.n_candidates(inputs.shape[1], dim), seed=seed, step=step, first=first
        )
        regrow.regrow_by(inputs, slots, candidates, gradients(candidates))
    restart(weight, slots, group, start=start, seed=seed, step=step, states=states, first=first_label)
    return slots


def _check_some_left(rewiring: Rewiring, slots: Tensor, step: int, sums: rewire.Sums | None) -> None:
    """Raises SettingError where all connections of the layer would be pruned."""
    counts = torch.stack([torch.count_nonzero(slots).cpu(), torch.tensor(slots.numel())])
    pruned, total = (counts if sums is None else sums(counts)).tolist()
    if pruned == total:
        raise SettingError(
            f"the rewiring after step {step:,} would prune all {total:,} connections",
            wanted="a threshold below the strongest connections",
            next_step=f"lower prune_threshold = {rewiring.prune_threshold:g}, or use prune = 'fraction'",
            where="prune_threshold",
        )


def joined(batches: list[tuple[Tensor, Positives]]) -> tuple[Tensor, Positives]:
    """The embeddings (B, D) and positives of several batches as those of one."""
    starts = accumulate((len(x) for x, _ in batches), initial=0)
    rows = torch.cat([p.rows + start for (_, p), start in zip(batches, starts, strict=False)])
    weights = [p.weights for _, p in batches if p.weights is not None]
    labels = torch.cat([p.labels for _, p in batches])
    pairs = Positives.from_pairs(rows, labels, weights=torch.cat(weights) if weights else None)
    return torch.cat([x for x, _ in batches]), pairs
