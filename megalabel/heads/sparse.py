"""A head in which each label reads a few of the encoder's outputs, which change in training: Spartex's head."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from megalabel.heads.abilities import LabelPrior, UpdatesInBackward
from megalabel.heads.base import Head, OptimizerStates, TrainingEmbeddings
from megalabel.heads.checks import check_arguments, check_reduction, prior_bias
from megalabel.heads.rewiring import Rewiring, exchange
from megalabel.kernels.all_labels.label_loss import check_loss
from megalabel.kernels.fan_in.connections import check_inputs, first_inputs, use
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_growth, fan_in_loss, fan_in_topk
from megalabel.kernels.fan_in.strongest_inputs import strongest_inputs
from megalabel.types import Positives, Reduction, TopK

GROUPS = (1, 16, 32, 64)
CONNECT = ("random", "texts")
WATCHED = 256  # groups whose connections' ages are kept, for the log


class SparseHead(UpdatesInBackward, LabelPrior, Head):
    """Scores z_l = w_l · x[inputs of l] + b_l with F = `fan_in` weights per label instead of D.

    Spartex (NeurIPS 2024) and, where `group` labels next to each other share one set of inputs but own their
    weights, HASTE (ICML 2026): scoring such a group is a gather and a small dense product. The loss is over all
    labels: squared hinge, max(0, 1 ∓ z)², the **mean** over texts and labels, or binary cross-entropy, the
    **sum**; `reduction` says otherwise. Its gradient is made label by label and used at once by the update rule of
    a `FusedSGD` or `FusedAdam`: nothing of size B × L or of the weights' size is held beside the weights and what
    the rule keeps. The squared hinge of most labels has no gradient, and costs none.

    With `rewiring`, `after_step` exchanges the weakest connections. A label keeps F of them at all times.

    Memory: 4·L·F bytes of weights, L·F/G of inputs where D ≤ 256 and twice that where D ≤ 32,768, 4·L of biases,
    and what the optimizer keeps: nothing (SGD), 4·L·F (momentum), 8·L·F (Adam).

    Args:
        n_labels: L.
        dim: D, the width of the embedding.
        fan_in: F, from 1 to D.
        group: G, how many neighboring labels share their inputs: 1, 16, 32 or 64. The last group may be smaller.
        loss: "squared_hinge" or "bce".
        reduction: "mean" or "sum" over texts and labels; empty for the loss's own.
        scale: first weights are uniform within ± scale / √F; 0 begins at zero.
        connect: first inputs are drawn at "random", or before the first step chosen by the label's "texts"
            (`strongest_inputs`): labels with few of them get at once what rewiring would need epochs for.
        distinct: draw a label's inputs without repetition; False is the paper.
        rewiring: when and how connections change; None for never.
        loss_every: in training, compute the loss's value in every n-th step only, as `DenseHead` does.
        seed: of the first inputs.
        generator: where initial weights are drawn from; None for torch's own.

    Raises:
        SettingError: an argument out of range, or rewiring that does not fit the shape.
    """

    n_views = 1

    def __init__(
        self,
        n_labels: int,
        dim: int,
        *,
        fan_in: int,
        group: int = 1,
        loss: str = "squared_hinge",
        reduction: Reduction | Literal[""] = "",
        scale: float = 1.0,
        connect: str = "random",
        distinct: bool = True,
        rewiring: Rewiring | None = None,
        loss_every: int = 1,
        seed: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_labels, self.dim, self.fan_in, self.group = n_labels, dim, fan_in, group
        self.reduction = reduction or ("mean" if loss == "squared_hinge" else "sum")
        self.loss_name, self.loss_every, self.rewiring = loss, loss_every, rewiring
        self.connect, self.seed = connect, seed
        _check(self, scale)
        if rewiring is not None:
            rewiring.check(fan_in, dim, group)
        limit = scale / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.empty(n_labels, fan_in).uniform_(-limit, limit, generator=generator))
        self.bias = nn.Parameter(torch.zeros(n_labels))
        n_groups = -(-n_labels // group)
        self.register_buffer("inputs", first_inputs(n_groups, fan_in, dim, seed=seed, distinct=distinct))
        self.register_buffer("births", torch.zeros(min(WATCHED, n_groups), fan_in, dtype=torch.int32))
        self.register_buffer("exchanged", torch.zeros(2, dtype=torch.int64))  # at the last rewiring, and in all
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))  # the one that comes next
        self._step = 0  # as the buffer `step`, but begins at 0 in a resumed run, and never asks the device
        self._seen: list[tuple[Tensor, Positives]] = []  # batches of a step after which growth uses gradients

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The loss over all labels: (B, 1, D) to a scalar."""
        self.check_views(views)
        training = self.training and torch.is_grad_enabled()
        value = not training or self._step % self.loss_every == 0
        if training and self._grows_by_gradient():
            self._seen.append((views[:, 0].detach(), positives))
        return fan_in_loss(
            views[:, 0],
            self.weight,
            self.bias,
            self.get_buffer("inputs"),
            positives,
            group=self.group,
            loss=self.loss_name,
            scale=1 / max(len(views) * self.n_labels, 1) if self.reduction == "mean" else 1.0,
            rule=self.update_rule if self.training else None,
            step=self.step_context,
            value=value,
        )

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels of each text by score: (B, 1, D) to ids and scores (B, k)."""
        self.check_views(views)
        layer = self.weight, self.bias, self.get_buffer("inputs")
        return fan_in_topk(views[:, 0], *layer, k, exclude, group=self.group, names=row_to_label)

    @torch.no_grad()
    def after_step(self, step: int, optimizers: OptimizerStates | None) -> None:
        """Exchanges connections where they are due."""
        self._step = step + 1
        self.get_buffer("step").fill_(step + 1)
        rewiring, seen = self.rewiring, self._seen
        self._seen = []
        if rewiring is None or not rewiring.due(step):
            return
        slots = exchange(
            rewiring,
            step,
            self.weight,
            self.get_buffer("inputs"),
            self.dim,
            self.group,
            states=[] if rewiring.keep_moments else self._moments(optimizers),
            gradients=(lambda candidates: self._growth(seen, candidates)) if seen else None,
        )
        count, before = int(torch.count_nonzero(slots)), int(self.get_buffer("exchanged")[1])
        self.get_buffer("births")[slots[self._watched()]] = step + 1
        self.get_buffer("exchanged").copy_(torch.tensor([count, before + count]))

    def _growth(self, seen: list[tuple[Tensor, Positives]], candidates: Tensor) -> Tensor:
        """How large the gradient of a connection to each candidate (M, C) would be, over the batches in `seen`."""
        before, rows, labels = 0, [], []
        for views, positives in seen:
            rows.append(positives.rows + before)
            labels.append(positives.labels)
            before += len(views)
        together = torch.cat([views for views, _ in seen])
        layer = self.weight, self.bias, self.get_buffer("inputs")
        pairs = Positives.of(torch.cat(rows), torch.cat(labels))
        return fan_in_growth(together, *layer, pairs, candidates, group=self.group, loss=self.loss_name)

    def _grows_by_gradient(self) -> bool:
        """Whether this step's batches will be asked for gradients."""
        rewiring = self.rewiring
        return (
            rewiring is not None and rewiring.growth == "gradient" and rewiring.due(int(self.get_buffer("step")))
        )

    def _moments(self, optimizers: OptimizerStates | None) -> list[Tensor]:
        """What is kept of each weight: the buffers of the update rule, or those of a torch optimizer."""
        if self.update_rule is not None:
            return self.update_rule.weight_state()
        state = {} if optimizers is None else optimizers.state_of(self.weight)
        return [t for t in state.values() if isinstance(t, Tensor) and t.shape == self.weight.shape]

    def _watched(self) -> Tensor:
        """Groups, evenly spaced, whose connections' births are known, (n,) int64."""
        n_groups, watched = len(self.get_buffer("inputs")), len(self.get_buffer("births"))
        return torch.arange(watched, device=self.weight.device) * n_groups // max(watched, 1)

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """Of connections that change: the fraction exchanged at the last rewiring, and how often each was on
        average so far, in percent; the mean age of the present ones, in steps; and how evenly inputs are used: how
        many no label reads, and the use of the busiest one over the mean.
        """
        if self.rewiring is None:
            return {}
        inputs, last = self.get_buffer("inputs"), self.get_buffer("exchanged").double()
        users = use(inputs, self.dim)
        return {
            "rewired %": 100 * float(last[0]) / inputs.numel(),
            "rewired in all %": 100 * float(last[1]) / inputs.numel(),
            "age": float(self.get_buffer("step")) - float(self.get_buffer("births").double().mean()),
            "unused inputs": float((users == 0).sum()),
            "busiest input": float(users.max()) * self.dim / inputs.numel(),
        }

    @torch.no_grad()
    def init_prior(self, label_counts: Tensor, n_texts: int) -> None:
        """Starts the bias at `prior_bias` of (L,) counts among `n_texts` training texts."""
        self.bias.copy_(prior_bias(label_counts, n_texts, self.n_labels, self.loss_name))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Refuses inputs that copying would cut to fit: it turns input 300 into 44 where a byte is held."""
        found = state_dict.get(f"{prefix}inputs")
        if found is not None:
            check_inputs(found, self.dim, len(self.get_buffer("inputs")))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Chooses the inputs of each label by the texts that have it, where `connect` says so; at step 0 alone."""
        if self.connect == "texts" and int(self.get_buffer("step")) == 0:
            views, positives = embeddings()
            self.check_views(views)
            shape, group = (self.n_labels, self.fan_in), self.group
            found = strongest_inputs(views[:, 0], positives, *shape, group=group, seed=self.seed)
            self.get_buffer("inputs").copy_(found)

    def check_state(self) -> None:
        """Refuses inputs that the embedding does not have."""
        check_inputs(self.get_buffer("inputs"), self.dim)

    def config(self) -> dict[str, Any]:
        """The shape; loss, rates and rewiring belong to training."""
        return {"n_labels": self.n_labels, "dim": self.dim, "fan_in": self.fan_in, "group": self.group}

    def extra_repr(self) -> str:
        """What print(head) shows."""
        return f"n_labels={self.n_labels}, dim={self.dim}, fan_in={self.fan_in}, group={self.group}"


def _check(head: SparseHead, scale: float) -> None:
    check_loss(head.loss_name)
    check_reduction(head.reduction)
    check_arguments(
        ("n_labels", head.n_labels, "1 or more", head.n_labels >= 1),
        ("dim", head.dim, "1 or more", head.dim >= 1),
        ("fan_in", head.fan_in, f"1 to {head.dim}, the width of the embedding", 1 <= head.fan_in <= head.dim),
        ("group", head.group, f"one of {', '.join(map(str, GROUPS))}", head.group in GROUPS),
        ("scale", scale, "0 or more", 0 <= scale < math.inf),
        ("connect", head.connect, " or ".join(CONNECT), head.connect in CONNECT),
        ("loss_every", head.loss_every, "1 or more", head.loss_every >= 1),
    )
