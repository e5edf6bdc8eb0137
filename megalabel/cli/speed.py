"""Run by the calibration in a process of its own: measures the speed of torch, or makes an encoder or a tree."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

SIDE = 1024  # of the matrices
NUMBERS = 32 << 20  # of the copied memory
ROUNDS = 5


def rates(threads: int) -> dict[str, float]:
    """FLOP/s of products of float32 matrices, and bytes/s that are read and written."""
    import torch

    torch.set_num_threads(threads)
    a, b, c = (torch.rand(SIDE, SIDE) for _ in range(3))
    x, y = torch.zeros(NUMBERS), torch.ones(NUMBERS)

    def product() -> None:
        torch.mm(a, b, out=c)

    def update() -> None:
        x.add_(y)

    return {"flops": 2 * SIDE**3 / _best(product), "memory": 12 * NUMBERS / _best(update)}


def make_encoder(shape: dict[str, object], folder: Path) -> None:
    """Writes a transformer with random weights, and the bundled tokenizer, as `save_pretrained` does."""
    from transformers import PreTrainedTokenizerFast

    from megalabel.encoders.hugging_face import make_untrained
    from megalabel.encoders.start import start_tokenizer

    names = {
        "hidden": ("hidden_size", "dim"), "inner": ("intermediate_size", "hidden_dim"),
        "heads": ("num_attention_heads", "n_heads"), "layers": ("num_hidden_layers", "n_layers"),
        "vocabulary": ("vocab_size", "vocab_size"), "positions": ("max_position_embeddings",) * 2,
        "types": ("type_vocab_size", "type_vocab_size"),
    }  # fmt: skip
    distil = shape["type"] == "distilbert"
    config = {names[key][distil]: value for key, value in shape.items() if key in names}
    if distil:
        del config["type_vocab_size"]
    model = make_untrained({"model_type": shape["type"], "pad_token_id": 0, **config})
    model.save_pretrained(folder)  # type: ignore[operator]
    tokenizer = start_tokenizer().tokenizer
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder)


def make_tree(n_labels: int, levels: int, folder: Path) -> None:
    """Writes a label tree with a number of cluster levels, each of which halves the one below."""
    import numpy as np

    from megalabel.labels.tree import LabelTree

    sizes = [*(max(2, n_labels >> (levels - i + 1)) for i in range(levels)), n_labels]
    parents = [np.arange(below) * above // below for above, below in itertools.pairwise(sizes)]
    LabelTree.from_parents(parents).save(folder)


def _best(body: Callable[[], None]) -> float:
    body()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    if sys.argv[1] == "encoder":
        make_encoder(json.loads(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1] == "tree":
        make_tree(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.stdout.write(json.dumps(rates(int(sys.argv[1]))))
