"""Runs of LightXML, DEXML and NGAME that are killed at random steps end with the same weights."""

from __future__ import annotations

import json

import pytest
from training.test_resume import go

from megalabel.storage.tensors import load_tensors

COMMON = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=5, batch_size=40, dropout=0.3, token_dropout=0.1,
    encoder_lr=0.001, token_lr=0.01, log_every=2,
)  # fmt: skip
CASES = {
    "lightxml, adagrad of rows, averaged weights, two micro-batches, validation": dict(
        recipe="lightxml", clusters=[8], candidates=2, bottleneck=16, head_lr=0.01, average_from=0.3,
        average_every=2, accumulation_steps=2, validation_fraction=0.1, head_optimizer="adagrad",
    ),
    "lightxml, sgd of rows": dict(
        recipe="lightxml", clusters=[8], candidates=2, bottleneck=0, head_lr=0.02, head_optimizer="sgd",
        reduction="sum", bias_from_prior=True, average_from=1.0, validation_fraction=0.0,
    ),
    "dexml, all labels in parts, gradient cache": dict(
        recipe="dexml", labels_at_once=20, accumulation_steps=2, validation_fraction=0.1,
    ),
    "dexml, drawn and hard negatives, searched anew every epoch": dict(
        recipe="dexml", negatives=10, hard_negatives=3, refresh_every=1, validation_fraction=0.1,
    ),
    "ngame, mined batches, gradient cache": dict(
        recipe="ngame", doublings=(1, 2, 3), refresh_every=2, accumulation_steps=2, warmup=0.1,
        validate_epochs=1.0, validation_fraction=0.1,
    ),
    "ngame, clusters from the start, softmax": dict(
        recipe="ngame", loss="softmax", cluster_size=4, doublings=(2,), refresh_every=1, warmup=0.1,
        validation_fraction=0.0,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_with_the_same_weights(case, tmp_path, rng):
    arguments = {**COMMON, **CASES[case]}
    assert go(tmp_path / "whole", -1, dict(arguments)) == 0
    steps = json.loads((tmp_path / "whole" / "recipe.json").read_text())["finished"]["steps"]
    for step in sorted(rng.choice(int(steps) - 2, size=3, replace=False) + 1):
        assert go(tmp_path / "killed", int(step), dict(arguments)) == -9
    assert go(tmp_path / "killed", -1, dict(arguments)) == 0
    for name in ("encoder", "head"):
        whole, killed = (
            load_tensors(tmp_path / run / "model" / f"{name}.safetensors", next_step="-")
            for run in ("whole", "killed")
        )
        assert whole.keys() == killed.keys()
        for key in whole:
            assert whole[key].numpy().tobytes() == killed[key].numpy().tobytes(), key
