"""The optimizers of a run, which step together: for the encoder, its token embeddings, and the head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.kernels.updates.rule import StepContext
from megalabel.training.optim.adamw_8bit import adamw_8bit
from megalabel.training.optim.fused import Fused, FusedAdagrad, FusedAdam, FusedSGD
from megalabel.training.optim.lazy_adam import LazyAdam
from megalabel.training.optim.row_sparse import RowOptimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from megalabel.training.optim.schedule import Schedule

__all__ = [
    "Fused",
    "FusedAdagrad",
    "FusedAdam",
    "FusedSGD",
    "Optimizers",
    "adamw",
    "clip_norm",
    "lazy_adam",
    "plain_adam",
]

FASTEST = 1e6  # maximum learning rate; with much larger ones, weights overflow float32


Kind = Literal["adamw", "adamw8bit", "adam", "sgd"]
MOMENTUM = 0.9  # of sgd, as in the code of Spartex


def adamw(
    module: nn.Module,
    lr: float,
    weight_decay: float = 0.01,
    eps: float = 1e-6,
    without: nn.Module | None = None,
    *,
    betas: Sequence[float] = (0.9, 0.999),
    kind: Kind = "adamw",
) -> Optimizer | None:
    """AdamW for parameters of `module` with dense gradients; no weight decay for vectors (biases, norms; Renée).

    Tables with sparse gradients are left to `lazy_adam`, and the part `without` to another optimizer. None where
    nothing is left. `kind` "adam" adds the decay to the gradient, "sgd" has momentum 0.9 and decays alike;
    "adamw8bit" keeps the moments in 8 bits (MissingExtra without torchao).
    """
    others = {id(p) for p in without.parameters()} if without is not None else set()
    trained = [p for p in _dense(module) if id(p) not in others]
    if not trained:
        return None
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM)
    if kind == "adamw8bit":
        return adamw_8bit(groups, lr, betas, eps)
    beta1, beta2 = betas
    make = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return make(groups, lr=lr, betas=(beta1, beta2), eps=eps, fused=True)


def lazy_adam(
    module: nn.Module, lr: float, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8
) -> LazyAdam | None:
    """LazyAdam over the token tables of `module` that have sparse gradients; None where there are none."""
    tables = _tables(module)
    return LazyAdam(tables, lr=lr, betas=betas, eps=eps) if tables else None


def plain_adam(module: nn.Module, lr: float, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8) -> LazyAdam:
    """LazyAdam over all else: for encoders whose dense part is so small that it needs no decay and no fusing."""
    return LazyAdam(_dense(module), lr=lr, betas=betas, eps=eps)


def _tables(module: nn.Module) -> list[Tensor]:
    embeddings = (m for m in module.modules() if isinstance(m, nn.Embedding) and m.sparse)
    return [m.weight for m in embeddings if m.weight.requires_grad]


def _dense(module: nn.Module) -> list[Tensor]:
    sparse = {id(table) for table in _tables(module)}
    return [p for p in module.parameters() if p.requires_grad and id(p) not in sparse]


AnyOptimizer: TypeAlias = "Optimizer | LazyAdam | Fused | RowOptimizer"


class Optimizers:
    """Named optimizers that step together, each with its own learning rate under one schedule.

    The names are used only in the log and in checkpoints.
    """

    def __init__(self, **named: AnyOptimizer | None) -> None:
        self.named = {name: optimizer for name, optimizer in named.items() if optimizer is not None}
        self.base = {name: [g["lr"] for g in o.param_groups] for name, o in self.named.items()}
        for name, rates in self.base.items():
            if not all(0 <= rate <= FASTEST for rate in rates):
                raise SettingError(
                    f"a learning rate of {max(rates):g} for {name}",
                    wanted=f"from 0 to {FASTEST:g}",
                    next_step="lower it: usual rates are far below 1 for Adam, and seldom above 1 for SGD",
                    where=f"{name}_lr",
                )

    def __getitem__(self, name: str) -> AnyOptimizer:
        return self.named[name]

    def scale_rates(self, factor: float) -> None:
        """Sets every learning rate to `factor` times its initial value."""
        for name, optimizer in self.named.items():
            for group, lr in zip(optimizer.param_groups, self.base[name], strict=True):
                group["lr"] = lr * factor

    def follow(self, schedule: Schedule, step: int) -> None:
        """Sets the learning rates and, if the schedule defines it, Adam's β₁ to their values at a step."""
        self.scale_rates(schedule(step))
        beta1 = schedule.beta1(step)
        if beta1 is None:
            return
        for optimizer in self.named.values():
            if hasattr(optimizer, "betas"):
                optimizer.betas = (beta1, optimizer.betas[1])
            for group in optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (beta1, group["betas"][1])

    def tensors(self, module: nn.Module | None = None) -> list[Tensor]:
        """The state tensors of all optimizers, or of those with parameters of the given module."""
        wanted = None if module is None else {id(p) for p in module.parameters()}
        kept = [
            optimizer
            for optimizer in self.named.values()
            if wanted is None or any(id(p) in wanted for p in _parameters(optimizer))
        ]
        return [t for optimizer in kept for t in _tensors(optimizer.state_dict()["state"])]

    def state_of(self, parameter: Tensor) -> Mapping[str, Any]:
        """The state of a parameter in a torch optimizer; empty if none of them has it."""
        for optimizer in self.named.values():
            if isinstance(optimizer, torch.optim.Optimizer) and parameter in optimizer.state:
                state: Mapping[str, Any] = optimizer.state[parameter]
                return state
        return {}

    def begin(self, part: int, parts: int, loss_scale: float = 1.0) -> None:
        """Passes the next micro-batch and its loss scale to the optimizers that act in the backward pass."""
        for optimizer in self.named.values():
            if isinstance(optimizer, Fused):
                optimizer.begin(StepContext.of_part(part, parts, loss_scale))

    def step(
        self, scaler: torch.amp.GradScaler, max_grad_norm: float = 0.0, head: nn.Module | None = None
    ) -> None:
        """Makes a step of each optimizer.

        With loss scaling, a step with inf or NaN is skipped, except that of a fused head, which was made in the
        backward pass with the scale divided out (Renée's split loss scaling).

        max_grad_norm: the maximum total norm of all gradients except those of `head`; 0 for no limit.
        """
        stepping: list[Any] = [o for o in self.named.values() if not isinstance(o, Fused)]
        if max_grad_norm:
            for optimizer in stepping:
                if not isinstance(optimizer, RowOptimizer):
                    scaler.unscale_(optimizer)
            heads = set() if head is None else {id(p) for p in head.parameters()}
            clip_norm([p for o in stepping for p in _parameters(o) if id(p) not in heads], max_grad_norm)
        rows = [o for o in stepping if isinstance(o, RowOptimizer)]
        for optimizer in stepping:
            if optimizer not in rows:
                scaler.step(optimizer)
        for optimizer in rows:  # they have no .grad that the scaler could check
            optimizer.step(scaler.get_scale())
        # The scaler raises an error if no parameter had a gradient, as with a frozen encoder.
        if any(p.grad is not None for o in stepping if o not in rows for p in _parameters(o)):
            scaler.update()
        for optimizer in self.named.values():
            optimizer.zero_grad(set_to_none=True)


def clip_norm(parameters: Iterable[Tensor], most: float) -> None:
    """Clips the total norm of all gradients to `most`, including sparse ones, which torch does not support."""
    values = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad.values())
        elif parameter.grad is not None:
            values.append(parameter.grad)
    if values:
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value) for value in values]))
        for value in values:
            value.mul_((most / (norm + 1e-6)).clamp(max=1.0))


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, (dict, list)):
        for value in state.values() if isinstance(state, dict) else state:
            yield from _tensors(value)


def _parameters(optimizer: AnyOptimizer) -> Iterable[Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"])
