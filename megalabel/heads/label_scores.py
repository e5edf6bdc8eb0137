"""The score of one label as a function of the views, through which gradients flow; for explanations.

    label_score(head, label)(views)     (B, V, D) to (B,): logits or margins as the head has them, and the
                                        logarithm of a probability

The rows of the label are read once and used in the dtype of the views, so that float64 views give float64 scores.
A tree is followed along the path of the label alone, whether a beam reaches it or not: `path_places` says that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid, normalize

from megalabel.errors import SettingError
from megalabel.heads.base import Head
from megalabel.heads.candidate_ranking import Paths
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.lightxml import LightXMLHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.auxiliary import WithAuxiliary
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import ACTIVATIONS, WithProjection
from megalabel.kernels.rounding.narrow_table import NarrowTable

Score = Callable[[Tensor], Tensor]


class Place(NamedTuple):
    """The place of a node on the way to a label among the candidates of its level.

    level: from 0. node: its row. rank: from 0; None if the node above was not kept. n_candidates: of the level.
    beam: how many are kept; 0 at the level of the labels.
    """

    level: int
    node: int
    rank: int | None
    n_candidates: int
    beam: int


@singledispatch
def label_score(head: Head, label: int) -> Score:
    """The score of a label; SettingError for a head whose formula is not known here."""
    raise SettingError(
        f"an explanation of a {type(head).__name__}",
        wanted="a head of megalabel: dense, sparse, cascade, LightXML or dual encoder",
        next_step="register the score of one label with megalabel.heads.label_scores.label_score.register",
        where="head",
    )


def _row(table: Tensor | NarrowTable, row: int) -> Tensor:
    """A row of a table, (D,) float32."""
    if isinstance(table, NarrowTable):
        return table.load(row, row + 1)[0]
    return table.detach()[row]


def _linear(weight: Tensor, bias: Tensor | None, view: int = 0) -> Score:
    offset = 0.0 if bias is None else float(bias)

    def score(views: Tensor) -> Tensor:
        x = views[:, min(view, views.shape[1] - 1)]
        return x @ weight.to(x) + offset

    return score


@label_score.register
def _(head: DenseHead, label: int) -> Score:
    return _linear(_row(head.table(), label), None if head.bias is None else head.bias.detach()[label])


@label_score.register
def _(head: SparseHead, label: int) -> Score:
    inputs = head.get_buffer("inputs")[label // head.group].long()
    weight = torch.zeros(head.dim, device=inputs.device)
    weight.index_add_(0, inputs, _row(head.table(), label).float())  # inputs may occur twice
    return _linear(weight, head.bias.detach()[label])


@label_score.register
def _(head: DualEncoderHead, label: int) -> Score:
    vector = head.get_buffer("label_vectors")[label]

    def score(views: Tensor) -> Tensor:
        x = normalize(views[:, 0], dim=1)
        return x @ vector.to(x) / head.temperature

    return score


@label_score.register
def _(head: CascadeHead, label: int) -> Score:
    path = _path(head.offsets, int(head.get_buffer("label_to_row")[label]))
    levels = [
        _linear(_row(weight, node), bias.detach()[node], i)
        for i, (node, (weight, bias)) in enumerate(zip(path, head.tables(), strict=True))
    ]
    powers = {"label": [1.0], "label*parent": [1.0, 1.0], "path": [1.0] * len(levels)}
    factors = powers.get(head.path_score, [0.5**i for i in range(len(levels))])

    def score(views: Tensor) -> Tensor:
        found = [factor * logsigmoid(level(views)) for factor, level in zip(factors, levels[::-1], strict=False)]
        return torch.stack(found).sum(dim=0)

    return score


@label_score.register
def _(head: LightXMLHead, label: int) -> Score:
    group, row = _path([head.get_buffer("offsets")], int(head.get_buffer("label_to_row")[label]))
    (group_weight, group_bias), (label_weight, label_bias) = head.tables()
    of_group = _linear(_row(group_weight, group), group_bias.detach()[group])
    of_label = _linear(_row(label_weight, row), label_bias.detach()[row])

    def score(views: Tensor) -> Tensor:
        narrow = _applied(head.bottleneck, views) if isinstance(head.bottleneck, nn.Linear) else views
        return logsigmoid(of_group(views)) + logsigmoid(of_label(narrow))

    return score


@label_score.register
def _(head: WithProjection, label: int) -> Score:
    inner = label_score(head.head, label)
    return lambda views: inner(ACTIVATIONS[head.activation](_applied(head.linear, views)))


@label_score.register
def _(head: WithAuxiliary, label: int) -> Score:
    return label_score(head.head, label)


@label_score.register
def _(head: PartitionedHead, label: int) -> Score:
    row = int(head.get_buffer("label_to_row")[label])
    part = max(i for i, start in enumerate(head.starts[:-1]) if start <= row)
    return label_score(head.heads[part], row - head.starts[part])


def _applied(layer: nn.Linear, views: Tensor) -> Tensor:
    """A linear layer in the dtype of the views."""
    return linear(views, layer.weight.detach().to(views), layer.bias.detach().to(views))


def _path(offsets: list[Tensor], row: int) -> list[int]:
    """The nodes from the top level to a row of the last level."""
    path = [row]
    for level in reversed(offsets):
        path.insert(0, int(torch.searchsorted(level, path[0], right=True)) - 1)
    return path


@torch.no_grad()
def path_places(head: Head, label: int, views: Tensor) -> list[Place]:
    """The places of the nodes on the way to a label for one text (1, V, D); empty for heads without a tree."""
    if isinstance(head, CascadeHead):
        path = _path(head.offsets, int(head.get_buffer("label_to_row")[label]))
        return _places(
            head.tables(), head.offsets, head.beams, Paths(head.path_score, len(head.offsets)), path, views
        )
    if isinstance(head, LightXMLHead):
        offsets = [head.get_buffer("offsets")]
        path = _path(offsets, int(head.get_buffer("label_to_row")[label]))
        return _places(head.tables()[:1], offsets, (head.candidates,), Paths("label", 1), path, views)
    return path_places(head.head, label, views) if isinstance(head, WithAuxiliary) else []


def _places(
    tables: Sequence[tuple[Tensor | NarrowTable, Tensor]],
    offsets: Sequence[Tensor],
    beams: Sequence[int],
    paths: Paths,
    path: Sequence[int],
    views: Tensor,
) -> list[Place]:
    """The places of the nodes of a path, ranked as `kernels/candidates/beam.py` says."""
    found: list[Place] = []
    rows = torch.arange(len(tables[0][1]), device=views.device)
    above = torch.zeros(len(rows), dtype=torch.float64, device=views.device)
    for i, (weight, bias) in enumerate(tables):
        x = views[0, min(i, views.shape[1] - 1)].float()
        table = weight.load_rows(rows) if isinstance(weight, NarrowTable) else weight.detach()[rows]
        z = (table @ x + bias.detach()[rows]).double()
        alone = logsigmoid(z)
        joint = alone + above
        keys = joint if paths.joined(i) else z
        order = (-keys).argsort(stable=True)
        place = torch.nonzero(rows[order] == path[i])
        beam = beams[i] if i < len(beams) else 0
        found.append(Place(i, path[i], int(place[0]) if len(place) else None, len(rows), beam))
        if i == len(offsets):
            break
        kept = order[:beam].sort().values
        ends = offsets[i][rows[kept] + 1]
        sizes = ends - offsets[i][rows[kept]]
        passed = (joint if paths.joined(i) else alone)[kept]
        above = torch.repeat_interleave(paths.decayed(passed), sizes)
        starts = torch.repeat_interleave(ends - sizes.cumsum(0), sizes)
        rows = starts + torch.arange(len(starts), device=views.device)
    return found
