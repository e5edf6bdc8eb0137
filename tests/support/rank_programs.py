"""Functions that tests run in several processes by `ranks.py`."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from megalabel.cli.main import main
from megalabel.data.texts import Texts
from megalabel.distributed import collectives, objects, own_tokens
from megalabel.distributed.merged_topk import merged_topk
from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.types import TopK


def exchanges(world: World, rows: list[Tensor], sizes: list[int]) -> dict[str, Any]:
    """The result of each exchange, and the bytes it has sent; `rows` has the rows of each process."""
    traffic, mine = collectives.Traffic(), rows[world.rank]
    gathered = collectives.gather_rows(mine, sizes, world, traffic)
    terms = gathered * (world.rank + 1)
    own = collectives.reduce_scatter_rows(terms, sizes, world, traffic).wait()
    total = collectives.sum_of_all(torch.full((12,), float(world.rank)), world, traffic)
    return {
        "gathered": gathered,
        "own": own,
        "total": total,
        "sent": dict(traffic.sent),
        "from last": objects.broadcast_object(f"of {world.rank}", world, world.size - 1),
        "of all": objects.gather_objects({"rank": world.rank}, world),
    }


def ranked(world: World, scores: Tensor, bounds: tuple[int, ...], k: int) -> TopK:
    """The merged ranking of scores (B, L) of which each process sorts the columns of its own labels."""
    owned = LabelShards(bounds).range(world.rank)
    best = scores[:, owned.start : owned.stop].sort(dim=1, descending=True, stable=True)
    found = TopK(best.indices[:, :k], best.values[:, :k])
    return merged_topk(found, owned.start, k, world)


def commands(world: World, *lines: list[str]) -> list[tuple[int, str]]:
    """Exit status and standard error of commands of `megalabel`, one after the other."""
    return [_command(line) for line in lines]


def _command(line: list[str]) -> tuple[int, str]:
    errors = io.StringIO()
    sys.argv = ["megalabel", *line]
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(errors):
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, errors.getvalue()


def tokens(world: World, texts: list[str], piece: int) -> tuple[Any, ...]:
    """The tokens of texts, made by all processes."""
    own_tokens.PIECE = piece
    tokenizer = learn_tokenizer(texts, 1000)
    store = own_tokens.build_tokens(world, Texts.from_strings(texts), tokenizer, 5)
    return np.array(store.ids), store.offsets, store.manifest
