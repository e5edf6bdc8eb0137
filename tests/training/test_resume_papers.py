"""Runs of LightXML, DEXML and NGAME that are killed at random steps end with the same weights."""

from __future__ import annotations

import os

import pytest
from support.killed_runs import check_killed

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")]

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


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_with_the_same_weights(case, runs, tmp_path, rng):
    check_killed(runs.go, tmp_path, {**COMMON, **CASES[case]}, rng)
