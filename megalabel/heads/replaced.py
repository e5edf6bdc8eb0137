"""What a sparse head remembers of the connections that it replaced: how many, and when, for its metrics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from megalabel.kernels.fan_in.connections import use
from megalabel.kernels.fan_in.rewire import Sums

TRACKED_GROUPS = 256  # groups whose connections' ages are kept, for the log


class Replaced(nn.Module):
    """A head whose connections are replaced during training.

    Its buffers are `inputs` (M, F); `births` (n, F) int32, the steps at which connections of some groups were
    made; `exchanged` (2,) int64, how many were replaced at the last rewiring and in all; and `step`, the next one.

    Attributes:
        sums: sums integers over the processes that hold the other labels of the layer; None where it is whole.
    """

    sums: Sums | None = None
    dim: int

    def track(self, inputs: Tensor, first_group: int, all_groups: int) -> None:
        """Adds the buffers: inputs of the groups from `first_group` on, of `all_groups` of the layer."""
        self._groups = first_group, all_groups
        self.register_buffer("inputs", inputs)
        self.register_buffer("births", torch.zeros(len(self._tracked()), inputs.shape[1], dtype=torch.int32))
        self.register_buffer("exchanged", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def replace(self, slots: Tensor, step: int) -> None:
        """Notes that the connections `slots` (M, F) bool were replaced after a step."""
        count, before = self._of_all(torch.count_nonzero(slots).cpu()[None]), self.get_buffer("exchanged")[1]
        self.get_buffer("births")[slots[self._tracked()]] = step + 1
        self.get_buffer("exchanged").copy_(torch.cat([count.to(before.device), before[None] + int(count)]))

    @torch.no_grad()
    def connection_metrics(self) -> dict[str, float]:
        """Of connections that change: the percentage replaced at the last rewiring, and all replacements as a
        percentage of the connections; their mean age in steps; the number of inputs that no label reads; and how
        often the most used input is read, relative to the mean.
        """
        inputs, births = self.get_buffer("inputs"), self.get_buffer("births")
        users = use(inputs, self.dim) if len(inputs) else torch.zeros(self.dim, dtype=torch.int64)
        sizes = torch.tensor([inputs.numel(), births.numel(), int(births.sum())])
        found = self._of_all(torch.cat([sizes, users]))
        total, tracked, born, users = int(found[0]), int(found[1]), int(found[2]), found[3:]
        last = self.get_buffer("exchanged").double()
        return {
            "rewired %": 100 * float(last[0]) / total,
            "rewired in all %": 100 * float(last[1]) / total,
            "age": float(self.get_buffer("step")) - born / tracked,
            "unused inputs": float((users == 0).sum()),
            "busiest input": float(users.max()) * self.dim / total,
        }

    def _of_all(self, counts: Tensor) -> Tensor:
        return counts if self.sums is None else self.sums(counts)

    def _tracked(self) -> Tensor:
        """The groups here whose connections' ages are tracked, (n,) int64; they are evenly spaced in the layer."""
        inputs, (first, n_groups) = self.get_buffer("inputs"), self._groups
        n_tracked = min(TRACKED_GROUPS, n_groups)
        groups = torch.arange(n_tracked, device=inputs.device) * n_groups // n_tracked - first
        return groups[(groups >= 0) & (groups < len(inputs))]
