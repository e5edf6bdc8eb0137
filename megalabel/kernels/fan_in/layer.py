"""The tensors of a layer with fixed fan-in, and the checks that the implementations rely on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.all_labels.label_pass import Chunks, chunk_bytes
from megalabel.kernels.core.checks import check_bias
from megalabel.kernels.core.memo import memo_on
from megalabel.kernels.core.threads import chunk_ranges, even_chunk, thread_count
from megalabel.kernels.fan_in.connections import check_inputs, check_layout
from megalabel.kernels.rounding.narrow_table import NarrowTable


@dataclass(frozen=True)
class FanIn:
    """Checked tensors: weight (L, F), bias (L,) or None, inputs (M, F), shared by G = group labels; D = dim.

    table: the weights again where they are stored in a narrow type; `weight` is then their codes, and the bias is
        float32.
    """

    weight: Tensor
    bias: Tensor | None
    inputs: Tensor
    group: int
    dim: int
    table: NarrowTable | None = None

    @classmethod
    def checked(
        cls, x: Tensor, weight: Tensor | NarrowTable, bias: Tensor | None, inputs: Tensor, group: int
    ) -> FanIn:
        """The layer with detached tensors, checked against x (B, D).

        Raises:
            SettingError: shapes, dtypes, devices or indices do not fit.
        """
        table, codes = (weight, weight.codes) if isinstance(weight, NarrowTable) else (None, weight)
        _check(x, codes, bias, inputs, group, narrow=table is not None)
        return cls(codes.detach(), None if bias is None else bias.detach(), inputs, group, x.shape[1], table)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the layer is computed in: that of the weights, float32 for narrow ones."""
        return self.weight.dtype if self.table is None else torch.float32

    @property
    def n_labels(self) -> int:
        """L."""
        return self.weight.shape[0]

    def check_like_inputs(self, other: Tensor, where: str) -> None:
        """Raises SettingError unless `other` holds valid inputs (M, C), C at least 1, of this layer."""
        if other.device != self.inputs.device:
            raise SettingError(
                f"{where} on {other.device}",
                wanted=f"{self.inputs.device}, the device of the layer",
                next_step=f"move them to {self.inputs.device}",
                where=where,
            )
        check_inputs(other, self.dim, self.inputs.shape[0])

    def chunks(self, n_texts: int) -> Chunks:
        """Chunks of whole groups, sized so that a densified chunk fits into the caches."""
        device, n_groups = self.weight.device, self.inputs.shape[0]
        threads = thread_count(device)
        labels = max(128, chunk_bytes(device) // (self.dtype.itemsize * (3 * self.dim + n_texts)))
        size = min(n_groups, even_chunk(n_groups, max(1, labels // self.group), threads))
        return Chunks(self.n_labels, size * self.group, chunk_ranges(n_groups, size, threads))

    def places(self, start: int, stop: int) -> Tensor:
        """(n, F) int64: the inputs of labels start … stop − 1."""
        first, last = start // self.group, -(-stop // self.group)
        rows = self.inputs[first:last].to(torch.int64).repeat_interleave(self.group, 0)
        return rows[start - first * self.group : stop - first * self.group]

    def values(self, start: int, stop: int) -> Tensor:
        """(n, F): the weights of labels start … stop − 1 as they are computed with."""
        return self.weight[start:stop] if self.table is None else self.table.load(start, stop)

    def dense(self, start: int, stop: int) -> Tensor:
        """(n, D): the dense weights of labels start … stop − 1; weights of duplicate inputs are summed."""
        weight = self.values(start, stop)
        return weight.new_zeros(len(weight), self.dim).scatter_add(1, self.places(start, stop), weight)


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, inputs: Tensor, group: int, *, narrow: bool) -> None:
    if x.dim() != 2 or x.shape[1] == 0 or weight.dim() != 2 or weight.numel() == 0:
        raise SettingError(
            f"embeddings {tuple(x.shape)} and weights {tuple(weight.shape)}",
            wanted="(B, D) and (L, F), with at least one input, one label and one connection",
            next_step="pass the output width of the encoder as `dim` of the head",
        )
    if (weight.dtype not in (torch.float32, torch.float64) and not narrow) or not x.is_floating_point():
        raise SettingError(
            f"weights of type {weight.dtype} for embeddings of type {x.dtype}",
            wanted="floating-point embeddings, and float32 or float64 weights, or a NarrowTable",
            next_step="keep the head in float32, or make it with weights='bfloat16' or 'float8'",
        )
    check_bias(weight, bias, torch.float32 if narrow else None)
    if group < 1:
        raise SettingError(
            f"group={group}",
            wanted="1 or more labels per group",
            next_step="leave it at 1 if each label is to have its own inputs",
            where="group",
        )
    others = [t for t in (weight, bias, inputs) if t is not None and t.device != x.device]
    if others:
        raise SettingError(
            f"embeddings on {x.device}, but a tensor of the layer on {others[0].device}",
            wanted="all on one device",
            next_step="move the head to the encoder's device",
        )
    n_groups = -(-weight.shape[0] // group)
    check_layout(inputs, x.shape[1], n_groups)
    if inputs.shape[1] != weight.shape[1]:
        raise SettingError(
            f"{inputs.shape[1]} inputs per group and {weight.shape[1]} weights per label",
            wanted="as many inputs as weights",
            next_step="create inputs and weights with the same fan_in",
            where="inputs",
        )
    _check_indices(inputs, x.shape[1])


def _check_indices(inputs: Tensor, dim: int) -> None:
    """Checks all M · F indices once per tensor, and again only after the tensor has changed."""
    if inputs.dtype != torch.uint8 or dim < 256:
        memo_on([inputs], "inputs in range", lambda: check_inputs(inputs, dim), key=dim)
