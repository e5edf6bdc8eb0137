"""A head in which each label reads a few of the encoder's outputs, rewired during training: Spartex."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from megalabel.heads.abilities import LabelPrior
from megalabel.heads.base import Head, OptimizerStates, TrainingEmbeddings
from megalabel.heads.checks import prior_bias
from megalabel.heads.replaced import Replaced
from megalabel.heads.rewiring import Rewiring, exchange, joined
from megalabel.heads.sparse_checks import check_sparse
from megalabel.heads.stored_table import StoredTable
from megalabel.kernels.core.dtypes import weight_type
from megalabel.kernels.fan_in.connections import check_inputs, first_inputs, input_dtype
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_growth, fan_in_loss, fan_in_topk
from megalabel.kernels.fan_in.strongest_inputs import strongest_inputs
from megalabel.types import Positives, Reduction, TopK


class SparseHead(StoredTable, Replaced, LabelPrior, Head):
    """Scores z_l = w_l · x[inputs of l] + b_l with F = `fan_in` weights per label instead of D.

    This is the layer of Spartex (NeurIPS 2024) and, where `group` neighboring labels share one set of inputs but
    have weights of their own, of HASTE (ICML 2026): such a group is scored by a gather and a small dense product.
    The loss is over all labels: squared hinge, max(0, 1 ∓ z)², the **mean** over texts and labels, or binary
    cross-entropy, the **sum**, unless `reduction` is given. Its gradient is computed label by label and used at
    once by the update rule of a `FusedSGD` or `FusedAdam`: no tensor of size B × L and no gradient of the size of
    the weights is allocated. Labels with a margin above 1 cost nothing under the squared hinge.

    With `rewiring`, `after_step` replaces the weakest connections. A label always has F of them.

    Memory: 4·L·F bytes of weights (2·L·F in bfloat16, L·(F + 1) in float8), L·F/G of inputs where D ≤ 256 and
    twice that where D ≤ 32,768, 4·L of biases, and the state of the optimizer: nothing (SGD), 4·L·F (momentum),
    8·L (Adagrad), 8·L·F (Adam).

    Args:
        n_labels: L.
        dim: D, the width of the embedding.
        fan_in: F, from 1 to D.
        group: G, the number of neighboring labels that share their inputs: 1, 16, 32 or 64. The last group may be
            smaller.
        loss: "squared_hinge" or "bce".
        reduction: "mean" or "sum" over texts and labels; empty for the default of the loss.
        init_scale: initial weights are uniform in ± init_scale / √F; 0 for zeros.
        init_connections: initial inputs are drawn at "random", or chosen before the first step by the "texts" of
            the label (`strongest_inputs`): labels with few texts then find good inputs without rewiring.
        distinct_inputs: whether to draw a label's inputs without repetition; False in the paper.
        rewiring: when and how connections are replaced; None for never.
        loss_every: in training, compute the value of the loss only in every n-th step, as `DenseHead` does.
        weights: the type in which the weights are stored: "float32", "bfloat16" or "float8", as in `DenseHead`.
        part: the labels that this head holds of the L, as in `DenseHead`, beginning with a whole group.
        seed: seeds the initial inputs.
        generator: random generator of the initial weights; None for torch's default.

    Raises:
        SettingError: an argument is out of range, or the rewiring does not fit the shape.
    """

    n_views = 1
    uses_weights = True
    replicated = frozenset({"exchanged"})  # `Replaced` sums it over the processes

    def __init__(
        self,
        n_labels: int,
        dim: int,
        *,
        fan_in: int,
        group: int = 1,
        loss: str = "squared_hinge",
        reduction: Reduction | Literal[""] = "",
        init_scale: float = 1.0,
        init_connections: str = "random",
        distinct_inputs: bool = True,
        rewiring: Rewiring | None = None,
        loss_every: int = 1,
        weights: str = "float32",
        part: range | None = None,
        seed: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.hold(n_labels, part)
        self.dim, self.fan_in, self.group = dim, fan_in, group
        self.reduction = reduction or ("mean" if loss == "squared_hinge" else "sum")
        self.loss_name, self.loss_every, self.rewiring = loss, loss_every, rewiring
        self.init_connections, self.seed = init_connections, seed
        check_sparse(self, init_scale)
        if rewiring is not None:
            rewiring.check(fan_in, dim, group)
        limit = init_scale / math.sqrt(fan_in)
        self.add_weights(
            fan_in, weight_type(weights), init_scale,
            lambda rows: rows.uniform_(-limit, limit, generator=generator), generator,
        )  # fmt: skip
        self.bias = nn.Parameter(torch.zeros(self.n_labels))
        first, n_groups = self.first_label // group, -(-self.n_labels // group)
        inputs = torch.zeros(0, fan_in, dtype=input_dtype(dim))
        if n_groups:
            inputs = first_inputs(n_groups, fan_in, dim, seed=seed, distinct=distinct_inputs, first=first)
        self.track(inputs, first, -(-self.all_labels // group))
        self._step = 0  # as the buffer `step`, but on the host, and from 0 in a resumed run
        self._seen: list[tuple[Tensor, Positives]] = []  # batches whose gradients regrowth needs

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The loss over all labels: (B, 1, D) to a scalar."""
        self.check_views(views)
        training = self.training and torch.is_grad_enabled()
        value = not training or self._step % self.loss_every == 0
        if training and self._regrows_by_gradient():
            self._seen.append((views[:, 0].detach(), positives))
        return fan_in_loss(
            views[:, 0],
            self.table(frozen=not self.training),
            self.bias,
            self.get_buffer("inputs"),
            positives,
            group=self.group,
            loss=self.loss_name,
            scale=1 / max(len(views) * self.all_labels, 1) if self.reduction == "mean" else 1.0,
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
        layer = self.table(), self.bias, self.get_buffer("inputs")
        return fan_in_topk(views[:, 0], *layer, k, exclude, group=self.group, row_to_label=row_to_label)

    @torch.no_grad()
    def after_step(self, step: int, optimizers: OptimizerStates | None) -> None:
        """Replaces connections if a rewiring is due after this step."""
        self._step = step + 1
        self.get_buffer("step").fill_(step + 1)
        rewiring, seen = self.rewiring, self._seen
        self._seen = []
        if rewiring is None or not rewiring.due(step):
            return
        slots = exchange(
            rewiring,
            step,
            self.table(),
            self.get_buffer("inputs"),
            self.dim,
            self.group,
            states=[] if rewiring.keep_optimizer_state else self._moments(optimizers),
            gradients=(lambda candidates: self._candidate_gradients(seen, candidates)) if seen else None,
            first_label=self.first_label,
            sums=self.sums,
        )
        if self.update_rule is not None:
            self.update_rule.weights_replaced(slots, self.group)
        self.replace(slots, step)

    def _candidate_gradients(self, seen: list[tuple[Tensor, Positives]], candidates: Tensor) -> Tensor:
        """Magnitudes of the gradients of connections to candidates (M, C), over the batches in `seen`."""
        views, pairs = joined(seen)
        layer = self.table(), self.bias, self.get_buffer("inputs")
        return fan_in_growth(views, *layer, pairs, candidates, group=self.group, loss=self.loss_name)

    def _regrows_by_gradient(self) -> bool:
        """Whether the gradients of this step's batches will be needed for regrowth."""
        rewiring = self.rewiring
        return (
            rewiring is not None and rewiring.regrow == "gradient" and rewiring.due(int(self.get_buffer("step")))
        )

    def _moments(self, optimizers: OptimizerStates | None) -> list[Tensor]:
        """The optimizer state per weight: the buffers of the update rule, or those of a torch optimizer."""
        if self.update_rule is not None:
            return self.update_rule.weight_state()
        state = {} if optimizers is None else optimizers.state_of(self.weight)
        return [t for t in state.values() if isinstance(t, Tensor) and t.shape == self.weight.shape]

    def metrics(self) -> dict[str, float]:
        """See `Replaced.connection_metrics`; none without rewiring."""
        return {} if self.rewiring is None else self.connection_metrics()

    @torch.no_grad()
    def init_prior(self, label_counts: Tensor, n_texts: int) -> None:
        """Initializes the bias with `prior_bias` of (L,) counts among `n_texts` training texts."""
        self.bias.copy_(prior_bias(label_counts, n_texts, self.n_labels, self.loss_name))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Checks the inputs first, since copying 300 into a byte would silently make it 44."""
        if (found := state_dict.get(f"{prefix}inputs")) is not None:
            check_inputs(found, self.dim, len(self.get_buffer("inputs")))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Chooses the inputs of each label by its texts, at step 0 and if `init_connections` is "texts"."""
        if self.init_connections == "texts" and int(self.get_buffer("step")) == 0 and self.n_labels:
            views, positives = embeddings()
            self.check_views(views)
            place = {"group": self.group, "seed": self.seed, "first_group": self.first_label // self.group}
            found = strongest_inputs(views[:, 0], positives, self.n_labels, self.fan_in, **place)
            self.get_buffer("inputs").copy_(found)

    def check_state(self) -> None:
        """Refuses inputs that the embedding does not have, and scales with which weights would overflow."""
        check_inputs(self.get_buffer("inputs"), self.dim)
        self.check_scales()

    def config(self) -> dict[str, Any]:
        """The shape, and the loss unless it is the squared hinge; rates and rewiring are settings of training."""
        shape = {"n_labels": self.n_labels, "dim": self.dim, "fan_in": self.fan_in, "group": self.group}
        loss = {} if self.loss_name == "squared_hinge" else {"loss": self.loss_name}
        return shape | loss | self.weight_config()

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """See `Head.from_config`; narrow weights, which take long to initialize, are zeros."""
        return cls(**({**config, "init_scale": 0.0} if "weights" in config else config))

    def extra_repr(self) -> str:
        """Returns the part of repr(head) inside the parentheses."""
        return ", ".join(f"{name}={value}" for name, value in self.config().items())
