"""How often a training step reads a value from a tensor: on a GPU, each time the host waits for it.

Counted on the CPU with the plain bodies; `test_gpu_training.py` counts on a GPU, where there is one.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from megalabel.kernels.core import dispatch
from megalabel.recipes import get
from megalabel.training.loop import scaler_for, train_step

CPU = torch.device("cpu")
OF = {
    "renee": {"warmup": 0.1},
    "spartex": {"warmup": 0.1, "fan_in": 8, "prune": "none", "auxiliary": False},
    "cascadexml": {"clusters": (4, 16), "schedule": "cosine", "layers": (0.5, 0.5, 1.0, 1.0)},
}
# Renée: the attention mask inside transformers, whether the embeddings and their gradient are finite, the range of
# the positives, and the upstream gradient; Spartex also the cuts of the positives. A cascade selects and checks
# its candidates on each level.
READS = {"renee": 5, "spartex": 6, "cascadexml": 50}


class Reads(TorchDispatchMode):
    """Counts operations that give a value to the host, or whose result has a size that the values decide."""

    NAMES = ("_local_scalar_dense", "nonzero", "_unique2", "masked_select", "equal.default")

    def __init__(self, monkeypatch):
        super().__init__()
        self.found = Counter()
        plain = Tensor.tolist

        def tolist(tensor):
            self.found["tolist"] += 1
            return plain(tensor)

        monkeypatch.setattr(Tensor, "tolist", tolist)  # which calls no operation on a CPU

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        sized = name.startswith("aten.repeat_interleave") and (kwargs or {}).get("output_size") is None
        if sized or any(part in name for part in self.NAMES):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


class Quiet:
    """A log that writes nothing."""

    def step(self, *arguments):
        """See `Log.step`."""


def reads(name, encoder, monkeypatch, extra=False):
    values = {"encoder": str(encoder), "max_length": 16, "epochs": 2, "batch_size": 32, "log_every": 1000}
    recipe = get(name)(planted(), **values, validation_fraction=0.0, **OF[name])
    batch = replace(recipe.batches.collate(np.arange(16), 1), step=1)
    if extra:
        views = recipe.encoder.views
        recipe.encoder.views = lambda part: views(part) * float(part.tokens.new_ones((), dtype=torch.float32))
    with dispatch.use("plain"):
        for _ in range(2):  # fills what is computed once
            train_step(recipe, batch, CPU, scaler_for(CPU, "float32"), Quiet())
        with Reads(monkeypatch) as counted:
            train_step(recipe, batch, CPU, scaler_for(CPU, "float32"), Quiet())
    return counted.found


@pytest.mark.parametrize("name", READS)
def test_a_step_reads_no_more_values_than_its_checks_need(name, tiny_bert, monkeypatch):
    found = reads(name, tiny_bert, monkeypatch)
    assert sum(found.values()) <= READS[name], found


def test_one_more_read_is_counted(tiny_bert, monkeypatch):
    found = reads("renee", tiny_bert, monkeypatch, extra=True)
    assert sum(found.values()) == READS["renee"] + 1
