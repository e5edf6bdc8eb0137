"""Tokens of many texts, of which each process of a job makes a part."""

from __future__ import annotations

import contextlib
import functools

import numpy as np

from megalabel.data.texts import Texts
from megalabel.distributed.world import World
from megalabel.inputs.token_store import TokenStore, manifest_of, tokens_by
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.storage.spill import Spill

PIECE = 4 << 20  # tokens that one process sends to the others at once


def divided_tokens() -> contextlib.AbstractContextManager[None]:
    """Within it, each process makes the tokens of its part of the texts, and all processes get all of them.

    The order of the texts changes in every epoch, so every process will read every text. Does nothing in a job of
    one process.
    """
    world = World.current()
    if world.size == 1:
        return contextlib.nullcontext()
    return tokens_by(functools.partial(build_tokens, world))


def build_tokens(world: World, texts: Texts, tokenizer: TextTokenizer, max_length: int) -> TokenStore:
    """`TokenStore.build` by all processes, each of which must call this with the same texts."""
    import torch

    from megalabel.distributed.collectives import broadcast, gather_rows

    cuts = [len(texts) * rank // world.size for rank in range(world.size + 1)]
    own = TokenStore.build(texts[cuts[world.rank] : cuts[world.rank + 1]], tokenizer, max_length)
    sizes = np.diff(cuts).tolist()
    lengths = gather_rows(torch.from_numpy(own.lengths), sizes, world).numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    spill = Spill()
    for rank in range(world.size):
        n_tokens = int(offsets[cuts[rank + 1]] - offsets[cuts[rank]])
        for start in range(0, n_tokens, PIECE):
            n = min(PIECE, n_tokens - start)
            piece = np.array(own.ids[start : start + n]) if rank == world.rank else np.empty(n, own.ids.dtype)
            broadcast(torch.from_numpy(piece.view(np.uint8)), rank, world)
            spill.append(piece)
    return TokenStore(spill.array(own.ids.dtype), offsets, manifest_of(texts, tokenizer, max_length))
