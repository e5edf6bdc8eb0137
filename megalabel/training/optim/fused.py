"""Optimizers of heads that update their weights in the backward pass of the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.heads.abilities import UpdatesInBackward, having
from megalabel.heads.base import Head
from megalabel.heads.stored_table import StoredTable
from megalabel.kernels.core.dtypes import weight_type
from megalabel.kernels.updates.adagrad_rule import AdagradRule
from megalabel.kernels.updates.adam_rule import AdamRule, CoupledAdamRule
from megalabel.kernels.updates.narrow_adagrad_rule import NarrowAdagradRule
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.kernels.updates.rule import StepContext, UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule


class Fused:
    """Holds the update rules of the `UpdatesInBackward` heads inside `head`, one rule per head.

    `step` does nothing, since the backward pass has updated the weights. Parameters of `head` outside these heads,
    such as those of a wrapper, are left to another optimizer. `param_groups`, `step`, `zero_grad` and `state_dict`
    are as in torch's optimizers; the state consists of the states of the rules.

    Raises:
        SettingError: no head inside `head` updates its weights in the backward pass, or a number is out of range.
    """

    def __init__(self, head: Head, lr: float, make: Callable[[], UpdateRule]) -> None:
        heads = [part for part in having(head, Head) if isinstance(part, UpdatesInBackward)]
        if not heads:
            raise SettingError(
                f"{type(head).__name__} does not update its weights in the backward pass",
                wanted="an UpdatesInBackward head, or one that wraps such a head",
                next_step="use torch.optim.SGD or adamw with this head",
            )
        self.param_groups: list[dict[str, Any]] = [
            {"params": [p for h in heads for p in h.parameters()], "lr": lr}
        ]
        self.rules: list[UpdateRule] = []
        self.heads = heads
        for one in heads:
            rule = self.rule_for(one, make())
            _check_narrow(one, rule, type(self).__name__)
            one.update_rule = rule
            self.rules.append(rule)

    def rule_for(self, head: UpdatesInBackward, rule: UpdateRule) -> UpdateRule:
        """The rule that trains a head, by default the one that was made for it."""
        return rule

    def begin(self, step: StepContext) -> None:
        """Sets the learning rate of the rules, and the context of the next micro-batch's loss in the heads.

        The backward pass uses the context with which its loss was computed.
        """
        for head, rule in zip(self.heads, self.rules, strict=True):
            head.step_context = step
            rule.lr = self.param_groups[0]["lr"]

    def step(self) -> None:
        """Does nothing, since the backward pass has updated the weights."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Does nothing, since no gradients are stored."""

    def state_dict(self) -> dict[str, Any]:
        """The state of each rule, and the learning rate."""
        kept = [{name: getattr(rule, name) for name in rule.KEPT} for rule in self.rules]
        return {"state": kept, "lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the result of `state_dict`; tensors are moved to the device of the weights.

        Raises:
            SettingError: the state is that of another optimizer, or of another number of heads.
        """
        state = state_dict["state"]
        if [set(kept) for kept in state] != [set(rule.KEPT) for rule in self.rules]:
            raise SettingError(
                f"a state of {[sorted(kept) for kept in state]}",
                wanted=f"the state of {type(self).__name__} for {len(self.rules)} head(s)",
                next_step="resume with the optimizer and the head with which the run was started",
            )
        device = self.param_groups[0]["params"][0].device
        for rule, kept in zip(self.rules, state, strict=True):
            for name, value in kept.items():
                setattr(rule, name, value.to(device) if isinstance(value, Tensor) else value)
        self.param_groups[0]["lr"] = state_dict["lr"]


class FusedSGD(Fused):
    """SGD with momentum and coupled weight decay, as `torch.optim.SGD` (Renée).

    Weights in a narrow type, and momentum in bfloat16, are rounded stochastically (`NarrowSGDRule`).

    Args:
        head: the head.
        lr: the learning rate.
        momentum: from 0 to below 1.
        weight_decay: L2 penalty.
        decay_bias: whether weight decay applies to the bias.
        momentum_dtype: "float32" or "bfloat16", the type in which momentum is kept.
        compensated: (C,) int64, sorted: labels whose narrow weights keep what rounding cut off; None for none.
            A sequence of these where `head` holds several heads (`PartitionedHead.rows_in_parts`).
        seed: seeds the rounding.
    """

    def __init__(
        self,
        head: Head,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        decay_bias: bool = False,
        *,
        momentum_dtype: str = "float32",
        compensated: Tensor | Sequence[Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        self.narrow: dict[str, Any] = {
            "momentum_dtype": weight_type(momentum_dtype, "momentum_dtype").dtype, "compensated": compensated,
            "seed": seed,
        }  # fmt: skip

        def make() -> UpdateRule:
            return SGDRule(lr=lr, momentum=momentum, weight_decay=weight_decay, decay_bias=decay_bias)

        super().__init__(head, lr, make)

    def rule_for(self, head: UpdatesInBackward, rule: UpdateRule) -> UpdateRule:
        """A `NarrowSGDRule` for narrow weights or momentum, whose random numbers are its own; else `SGDRule`."""
        assert isinstance(rule, SGDRule)
        if not head.weight_type.is_narrow and self.narrow["momentum_dtype"] == torch.float32:
            return rule
        seed, labels = self.narrow["seed"] + (len(self.rules) << 40), _labels_of(head)
        options = {**self.narrow, "decay_bias": rule.decay_bias, "seed": seed, "first_row": labels.start}
        rows = options["compensated"]
        if rows is not None:
            rows = rows if isinstance(rows, Tensor) else rows[len(self.rules)]
            first, stop = torch.searchsorted(rows, torch.tensor([labels.start, labels.stop])).tolist()
            here = rows[first:stop] - labels.start
            options |= {"compensated": here if len(here) else None, "first_compensated": first}
        return NarrowSGDRule(rule.lr, rule.momentum, rule.weight_decay, **options)


class FusedAdam(Fused):
    """AdamW, as `torch.optim.AdamW`; weight decay applies to the bias only with `decay_bias`.

    `coupled` makes it `torch.optim.Adam`, which adds the decay to the gradient. `betas` may change between steps
    (`Optimizers.follow`).
    """

    def __init__(
        self,
        head: Head,
        lr: float,
        weight_decay: float = 0.0,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        decay_bias: bool = False,
        coupled: bool = False,
    ) -> None:
        beta1, beta2 = betas
        self.betas = (beta1, beta2)

        def make() -> UpdateRule:
            kind = CoupledAdamRule if coupled else AdamRule
            return kind(lr=lr, betas=self.betas, eps=eps, weight_decay=weight_decay, decay_bias=decay_bias)

        super().__init__(head, lr, make)

    def begin(self, step: StepContext) -> None:
        """See `Fused.begin`; also sets β₁ and β₂."""
        super().begin(step)
        for rule in self.rules:
            assert isinstance(rule, AdamRule)
            rule.betas = self.betas


class FusedAdagrad(Fused):
    """Row-wise Adagrad (`kernels/updates/adagrad.py`); weight decay applies to the bias only with `decay_bias`.

    Weights in a narrow type are rounded stochastically (`NarrowAdagradRule`), by random numbers of `seed`.
    """

    def __init__(
        self,
        head: Head,
        lr: float,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
        decay_bias: bool = False,
        *,
        seed: int = 0,
    ) -> None:
        self.seed = seed
        super().__init__(head, lr, lambda: AdagradRule(lr, eps, weight_decay, decay_bias))

    def rule_for(self, head: UpdatesInBackward, rule: UpdateRule) -> UpdateRule:
        """A `NarrowAdagradRule` for narrow weights, whose random numbers are its own; else `AdagradRule`."""
        assert isinstance(rule, AdagradRule)
        if not head.weight_type.is_narrow:
            return rule
        seed = self.seed + (len(self.rules) << 40)
        first = _labels_of(head).start
        return NarrowAdagradRule(rule.lr, rule.eps, rule.weight_decay, rule.decay_bias, seed=seed, first_row=first)


def _labels_of(head: UpdatesInBackward) -> range:
    """The labels that a head holds of all labels; all of them where it does not say."""
    if isinstance(head, StoredTable):
        return range(head.first_label, head.first_label + head.n_labels)
    return range(1 << 62)


def _check_narrow(head: UpdatesInBackward, rule: UpdateRule, optimizer: str) -> None:
    """Raises SettingError for narrow weights with a rule that does not round them."""
    kind = head.weight_type
    if kind.is_narrow and kind.dtype not in rule.WEIGHT_DTYPES:
        raise SettingError(
            f"{optimizer} for weights in {kind.name}",
            wanted="weights in float32, or an optimizer that rounds stochastically",
            next_step="use FusedSGD or FusedAdagrad",
            where="weights",
        )
