"""The arrays of a bag with a head for the runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.encoders.bag import Bag
from megalabel.encoders.base import ResidualBlock
from megalabel.errors import SettingError
from megalabel.exporting.tokens import token_parts
from megalabel.heads.base import Head
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.models.neural import NeuralClassifier
from megalabel.runtime.folders import READ

Arrays = dict[str, np.ndarray]


def bag_parts(model: NeuralClassifier, *, tables: bool = True) -> tuple[dict[str, Any], Arrays]:
    """What `megalabel.runtime.bag` reads; SettingError for another encoder or head.

    tables: whether the tokenizer may become tables.
    """
    encoder = model.encoder
    if not isinstance(encoder, Bag):
        raise not_exported(f"a model with the encoder {type(encoder).__name__}")
    arrays: Arrays = {}
    head = _head(model.head, "head", arrays, None)
    tokens, token_arrays = token_parts(encoder.tokenizer, model.max_length, tables=tables)
    facts = {
        "dim": encoder.table.embedding_dim, "n_views": encoder.n_views, "n_tokens": encoder.n_tokens,
        "hidden": encoder.hidden_dim, "width": 0 if encoder.widen is None else encoder.dim,
    }  # fmt: skip
    arrays |= token_arrays
    for name in ("table.weight", "weights", "bigrams"):
        arrays[f"bag.{name.partition('.')[0]}"] = _numpy(encoder.state_dict()[name])
    _norm(encoder.norm, "bag.norm", arrays)
    for i, block in enumerate(encoder.blocks):
        if isinstance(block, ResidualBlock):
            _norm(block.norm, f"bag.block{i}.norm", arrays)
            _linear(block.widen, f"bag.block{i}.widen", arrays)
            _linear(block.narrow, f"bag.block{i}.narrow", arrays)
    if encoder.widen is not None:
        _linear(encoder.widen, "bag.widen", arrays)
    return {"kind": "bag", "bag": facts, "tokens": tokens, "head": head}, arrays


def _head(head: Head, name: str, arrays: Arrays, labels: Tensor | None) -> dict[str, Any]:
    """Facts of a head; its arrays are added under `name`. labels: the label of each row, None for its number."""
    if isinstance(head, WithProjection) and labels is None:
        _linear(head.linear, f"{name}.layer", arrays)
        inner = _head(head.head, f"{name}.head", arrays, None)
        return {"type": "projection", "dim": head.dim, "activation": head.activation, "head": inner}
    if isinstance(head, PartitionedHead) and labels is None:
        order, parts = head.order, []
        for i, (part, start) in enumerate(zip(head.heads, head.starts, strict=False)):
            parts.append(_head(part, f"{name}.{i}", arrays, order[start : start + part.n_labels]))
        return {"type": "partitioned", "parts": parts}
    if type(head) is CascadeHead and labels is None:
        return _cascade(head, name, arrays)
    if type(head) is SparseHead:
        _table(head.table(frozen=True), head.bias, name, arrays)
        arrays[f"{name}.inputs"] = _numpy(head.get_buffer("inputs"))
        found = {"type": "sparse", "fan_in": head.fan_in, "group": head.group}
    elif type(head) is DenseHead:
        _table(head.table(frozen=True), head.bias, name, arrays)
        found = {"type": "dense", "dim": head.dim}
    else:
        raise not_exported(f"a bag with the head {type(head).__name__}")
    if labels is not None:
        arrays[f"{name}.ids"] = _numpy(labels)
    return {**found, "weights": head.weight_type.name}


def _cascade(head: CascadeHead, name: str, arrays: Arrays) -> dict[str, Any]:
    for i, (table, bias) in enumerate(head.tables()):
        _table(table, bias, f"{name}.level{i}", arrays)
    for i, offsets in enumerate(head.offsets):
        arrays[f"{name}.level{i}.offsets"] = _numpy(offsets)
    arrays[f"{name}.order"] = _numpy(head.get_buffer("label_to_row").argsort())
    facts = {"dim": head.dim, "beams": list(head.beams), "path_score": head.path_score}
    return {"type": "cascade", "weights": head.weight_type.name, **facts}


def _table(table: Tensor | NarrowTable, bias: Tensor | None, name: str, arrays: Arrays) -> None:
    codes = table.codes if isinstance(table, NarrowTable) else table
    arrays[f"{name}.weight"] = _numpy(codes)
    if isinstance(table, NarrowTable) and table.exponents is not None:
        arrays[f"{name}.exponents"] = _numpy(table.exponents)
    if bias is not None:
        arrays[f"{name}.bias"] = _numpy(bias)


def _norm(norm: nn.LayerNorm, name: str, arrays: Arrays) -> None:
    arrays |= {f"{name}.weight": _numpy(norm.weight), f"{name}.bias": _numpy(norm.bias)}


def _linear(layer: nn.Linear, name: str, arrays: Arrays) -> None:
    arrays |= {f"{name}.weight": _numpy(layer.weight), f"{name}.bias": _numpy(layer.bias)}


def _numpy(tensor: Tensor) -> np.ndarray:
    """The numbers of a tensor; those of 16 and 8 bits that numpy does not know as unsigned integers."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        found: np.ndarray = tensor.view(torch.int16).numpy().view(np.uint16)
        return found
    return (tensor.view(torch.uint8) if tensor.dtype == torch.float8_e4m3fn else tensor).numpy()


def not_exported(found: str) -> SettingError:
    """The error on a model that the runtime cannot read."""
    return SettingError(
        found,
        wanted=READ,
        next_step="distill it into one (megalabel distill RUN DATA -o NEW), or try megalabel onnx RUN -o NEW",
        where="run",
    )
