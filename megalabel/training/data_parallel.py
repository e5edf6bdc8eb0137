"""`DataParallel`: the step of a job of several processes, which sums the gradients of what all of them hold."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from megalabel.distributed.collectives import Traffic, sum_of_all
from megalabel.distributed.own_texts import OwnTexts, RankBatch
from megalabel.distributed.world import World
from megalabel.encoders.base import Encoder
from megalabel.heads.abilities import OwnLabels, having
from megalabel.heads.base import Head
from megalabel.heads.wrappers.auxiliary import WithAuxiliary
from megalabel.training.step import Step, StepContext
from megalabel.types import Batch

RANK_SEED = 0x9E3779B97F4A7C15  # sets the random numbers of the processes apart


class DataParallel(Step):
    """Forward, loss and backward pass of each process's own texts, as `Plain` with the whole batch in one process.

    The encoder, and parts of the head outside `LabelParallel`, are the same in all processes. PyTorch's
    `DistributedDataParallel` sums (and does not average) their gradients while the backward pass goes on, so they
    are those of one process with the same batch but for the order of summation. Without dropout the training is
    therefore that of one process; with dropout each process draws other masks, and the training is another sample
    of the same distribution.

    Args:
        world: the processes.
        traffic: counts the bytes that are sent.
    """

    def __init__(self, world: World, traffic: Traffic) -> None:
        self.world, self.traffic = world, traffic
        self._module: nn.Module | None = None
        self._faded = 0  # auxiliary classifiers that are no longer trained

    def __call__(self, batch: Batch, context: StepContext) -> float:
        """Fills the gradients; returns the loss of the whole batch in every process."""
        assert isinstance(batch, RankBatch)
        faded = sum(part.faded for part in having(context.head, WithAuxiliary))
        if self._module is None or faded != self._faded:
            self._module, self._faded = self._made(batch, context), faded
        torch.manual_seed((context.seed + self.world.rank * RANK_SEED) % 2**63)
        total = 0.0
        for i, part in enumerate(batch.parts):
            context.optimizers.begin(i, len(batch.parts), context.scaler.get_scale())
            own = part.to(context.device)
            n_texts = len(cast(Tensor, part.positives.texts))
            with self._summing(i == len(batch.parts) - 1):
                with context.autocast():
                    loss = self._module(own)
                total += context.backward(loss, n_texts / len(batch))
        if context.wants_loss:
            total = float(sum_of_all(torch.tensor(total, dtype=torch.float64), self.world, self.traffic))
        return total

    def _summing(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients are summed over the processes after the last micro-batch alone."""
        if last or not isinstance(self._module, DistributedDataParallel):
            return contextlib.nullcontext()
        return self._module.no_sync()

    def _made(self, batch: RankBatch, context: StepContext) -> nn.Module:
        module = _Loss(context.encoder, context.head)
        own = _of_labels(module) | _unused(module, batch.parts[0].of_texts(0, 1).to(context.device), context)
        if self.world.size == 1 or not any(p.requires_grad for n, p in module.named_parameters() if n not in own):
            return module
        # Buffers are the same in all processes from the start, and are not sent in every step.
        cast(Any, module)._ddp_params_and_buffers_to_ignore = own | {name for name, _ in module.named_buffers()}
        parallel = DistributedDataParallel(module)
        # Without annotations, which PyTorch would compare with its own.
        parallel.register_comm_hook(self.traffic, lambda state, bucket: _sum(state, bucket))
        return parallel


class _Loss(nn.Module):
    """The loss of a process's own texts over all labels, as the module that DistributedDataParallel wraps."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, part: OwnTexts) -> Tensor:
        """See `LabelParallel.loss`."""
        views = self.encoder.views(part)[: part.n_own]
        return self.head.loss(views.float(), part.positives)


def _of_labels(module: nn.Module) -> set[str]:
    """The names of the tensors that each process holds by itself: those of its own labels."""
    names = {id(part): name for name, part in module.named_modules()}
    prefixes = tuple(f"{names[id(part)]}." for part in having(module, OwnLabels))
    return {name for name in module.state_dict() if prefixes and name.startswith(prefixes)}


def _unused(module: _Loss, text: OwnTexts, context: StepContext) -> set[str]:
    """The names of parameters without a gradient: parts of the encoder, such as a pooler, and faded auxiliaries.

    DistributedDataParallel would wait for their gradients, or look for them in every step.
    """
    names = {id(part): name for name, part in module.named_modules()}
    faded = tuple(f"{names[id(part)]}.auxiliary." for part in having(module, WithAuxiliary) if part.faded)
    found = {name for name, _ in module.named_parameters() if faded and name.startswith(faded)}
    encoder = module.encoder
    modes = [(part, part.training) for part in encoder.modules()]
    encoder.eval()
    with context.autocast():
        views = encoder.views(text)
    if views.requires_grad:
        views.float().sum().backward()
    for part, mode in modes:
        part.training = mode
    for name, parameter in encoder.named_parameters():
        if parameter.grad is None:
            found.add(f"encoder.{name}")
        parameter.grad = None
    return found


def _sum(traffic: Traffic, bucket: Any) -> torch.futures.Future[Tensor]:
    """Sums a bucket of gradients over the processes; of a sparse one, gloo sends all rows to all processes."""
    gradients, size = bucket.buffer(), dist.get_world_size()
    if gradients.is_sparse:
        rows, values = gradients._indices(), gradients._values()
        n_bytes = (size - 1) * (rows.numel() * rows.element_size() + values.numel() * values.element_size())
    else:
        n_bytes = 2 * (size - 1) * gradients.numel() * gradients.element_size() // size
    traffic.add("encoder", n_bytes)
    work = dist.all_reduce(gradients, async_op=True)
    found: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return found
