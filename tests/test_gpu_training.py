"""Training on a GPU: recipes that rewire, resume and search, and how often a step waits for the GPU.

Run by scripts/gpu where there is one, left out elsewhere.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.recipes import get
from megalabel.training.loop import scaler_for, train_step

DEVICE = torch.device("cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

SHORT = {
    "encoder": "bag", "tokenizer": "words", "max_length": 16, "epochs": 20, "batch_size": 32, "hidden_dim": 0,
    "head_lr": 0.02, "encoder_lr": 0.002, "token_lr": 0.02, "validation_fraction": 0.0, "log_every": 1,
}  # fmt: skip
OF = {
    "cascadexml": {"clusters": (4, 16), "schedule": "cosine"},
    "spartex": {
        "fan_in": 48, "prune": "fraction", "prune_fraction": 0.2, "rewire_every": 20, "auxiliary": True,
        "auxiliary_epochs": 4, "dropout": 0.1, "warmup": 0.05,
    },
}  # fmt: skip


class Killed(Exception):
    """Ends a run as a crash would, after its checkpoint."""


@pytest.mark.parametrize("recipe", OF)
def test_a_recipe_rewires_resumes_and_searches_on_a_gpu(recipe, tmp_path):
    data, values = planted(), {**SHORT, **OF[recipe]}

    def kill(line):
        if line["step"] >= 60:
            raise Killed

    with pytest.raises(Killed):
        made = get(recipe)(data, **values)
        megalabel.train(made, tmp_path / "r", device=DEVICE, checkpoint_steps=25, quiet=True, callback=kill)
    lines = []
    model = megalabel.train(
        get(recipe)(data, **values), tmp_path / "r", device=DEVICE, quiet=True, callback=lines.append
    )
    assert lines[0]["step"] in range(49, 52), "it goes on from the last checkpoint"
    if recipe == "spartex":
        assert lines[-2]["rewired in all %"] > 0
    assert megalabel.evaluate(model, data)["P@1"] > 80
    assert lines[-1]["phase"] == "trained"
    if DEVICE.type == "cuda":
        assert 0 < lines[-1]["peak_device_mb"] <= lines[-1]["peak_device_reserved_mb"]
    texts = data.test.texts[:20]
    there, here = (megalabel.load(tmp_path / "r", device=name).topk(texts, k=5) for name in (DEVICE, "cpu"))
    np.testing.assert_allclose(there.scores, here.scores, rtol=1e-3, atol=1e-3)


WAITING = {"cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy"}
# How often a step waits: for the attention mask inside transformers, for whether the embeddings and their gradient
# are finite, the range of the positives, the upstream gradient; in a sparse layer for the cuts of the positives.
# `training/test_waits.py` counts the same on a CPU.
WAITS = {"renee": 5, "spartex": 6}
PLAIN = {
    "renee": {"warmup": 0.1},
    "spartex": {"warmup": 0.1, "fan_in": 8, "prune": "none", "auxiliary": False},
    "cascadexml": {"clusters": (4, 16), "schedule": "cosine", "layers": (0.5, 0.5, 1.0, 1.0)},
}


class Quiet:
    """A log that writes nothing."""

    def step(self, *arguments):
        """See `Log.step`."""


class Steps:
    """Steps of a recipe on one batch, none of which is logged."""

    def __init__(self, name, encoder, folder, texts=16):
        values = {"encoder": str(encoder), "max_length": 16, "epochs": 2, "batch_size": 32, "log_every": 1000}
        self.recipe = get(name)(planted(), **values, validation_fraction=0.0, **PLAIN[name])
        for module in self.recipe.modules().values():
            module.to(DEVICE)
        self.recipe.encoder.prepare(self.recipe.batches.rows, folder, DEVICE)
        self.batch = replace(self.recipe.batches.collate(np.arange(texts), 1), step=1)
        self.log = Quiet()
        self.scaler = scaler_for(DEVICE, "float32")

    def __call__(self):
        train_step(self.recipe, self.batch, DEVICE, self.scaler, self.log)

    def waits(self, more=lambda: None, steps=8):
        """How often a step waits for the GPU: the difference of two profiles, without what the profiler does."""
        for _ in range(3):  # compiles kernels, and fills what is computed once
            self()
        counts = []
        for n in (1, 1 + steps):
            with torch.profiler.profile() as profile:
                for _ in range(n):
                    self()
                    more()
            counts.append(sum(event.count for event in profile.key_averages() if event.key in WAITING))
        return (counts[1] - counts[0]) / steps


@pytest.mark.parametrize("recipe", WAITS)
def test_a_step_waits_for_the_gpu_no_more_often_than_its_checks_need(recipe, tiny_bert, tmp_path):
    assert Steps(recipe, tiny_bert, tmp_path).waits() <= WAITS[recipe]


def test_the_waits_of_a_cascade_do_not_grow_with_the_batch(tiny_bert, tmp_path):
    few, many = (Steps("cascadexml", tiny_bert, tmp_path, texts).waits() for texts in (16, 32))
    assert many <= few


def test_one_more_wait_per_step_is_counted(tiny_bert, tmp_path):
    steps, number = Steps("renee", tiny_bert, tmp_path), torch.ones((), device=DEVICE)
    assert steps.waits(more=lambda: float(number)) == steps.waits() + 1
