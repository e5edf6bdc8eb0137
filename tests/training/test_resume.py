"""A run killed with SIGKILL at random steps ends with the weights that it would have had."""

import os

import pytest
from support.killed_runs import check_killed, check_same, started

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")]
COMMON = dict(
    epochs=3, batch_size=40, max_length=16, warmup=0.1, head_lr=0.02, encoder_lr=0.001, dropout=0.3,
    token_dropout=0.1, tokenizer="words", log_every=2,
)  # fmt: skip
CASES = {
    "bag, momentum in place, two micro-batches, validation": dict(
        encoder="bag", head_momentum=0.9, bias=True, accumulation_steps=2, bigram_min_count=2,
        validation_fraction=0.1,
    ),
    "small transformer, adamw head": dict(
        encoder="small", head_optimizer="adamw", validation_fraction=0.0, encoder_weight_decay=0.1
    ),
    "cascade, adam of rows, two micro-batches": dict(
        recipe="cascadexml",
        encoder="bag",
        clusters=[4, 16],
        beams=[2, 6],
        level_dropout=[0.2, 0.3, 0.3],
        epochs=5,
        final_epochs=1,
        accumulation_steps=2,
        log_every=2,
        validation_fraction=0.1,
        warmup=None,
        dropout=None,
    ),
    "cascade as on a CPU, sgd of rows": dict(
        recipe="cascadexml", encoder="bag", clusters=[8], beams=[3], level_dropout=[0.3, 0.3], schedule="cosine",
        warmup_epochs=0.5, accumulation_steps=1, log_every=2, validation_fraction=0.0, head_optimizer="sgd",
        reduction="sum", bias_from_prior=True, path_score="decayed", bigram_min_count=2, warmup=None, dropout=None,
    ),
    "spartex, rewired by gradient, auxiliary, adamw, two micro-batches, validation": dict(
        recipe="spartex", encoder="bag", fan_in=16, prune="fraction", prune_fraction=0.3, rewire_every=4,
        regrow="gradient", auxiliary=True, auxiliary_epochs=1.5, distinct_inputs=True, accumulation_steps=2,
        log_every=2, validation_fraction=0.1,
    ),
    "spartex, groups and dense labels, sgd with momentum": dict(
        recipe="spartex", encoder="bag", fan_in=24, init_connections="texts", group=16, dense_fraction=0.1,
        prune_threshold=0.05, rewire_every=3, auxiliary=False, loss="bce", head_optimizer="sgd",
        bias_from_prior=True, projection_dim=64, keep_optimizer_state=True, log_every=3, validation_fraction=0.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_with_the_same_weights(case, runs, tmp_path, rng):
    arguments = {name: value for name, value in {**COMMON, **CASES[case]}.items() if value is not None}
    check_killed(runs.go, tmp_path, arguments, rng)


def test_processes_that_share_nothing_end_with_the_same_weights(tmp_path, rng):
    def go(*arguments) -> int:
        with started(tmp_path, warm=False) as runs:
            return runs.go(*arguments)

    check_killed(go, tmp_path, {**COMMON, **next(iter(CASES.values()))}, rng)


ON_DISK = {
    "float8, momentum in bfloat16": dict(
        encoder="bag", weights="float8", head_momentum=0.9, momentum_dtype="bfloat16", accumulation_steps=2,
        validation_fraction=0.0,
    ),
    "cascade, adam of rows": dict(
        recipe="cascadexml", encoder="bag", clusters=[4, 16], beams=[2, 6], level_dropout=[0.2, 0.3, 0.3],
        validation_fraction=0.0, schedule="cosine", warmup_epochs=0.5, warmup=None, dropout=None,
    ),
    "spartex, adamw": dict(
        recipe="spartex", encoder="bag", fan_in=16, rewire_every=4, auxiliary=False, validation_fraction=0.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ON_DISK)
def test_a_killed_run_with_tables_on_disk_ends_with_the_weights_of_one_in_memory(case, runs, tmp_path):
    given = {name: value for name, value in {**COMMON, **ON_DISK[case], "epochs": 1}.items() if value is not None}
    assert runs.go(tmp_path / "whole", -1, given) == 0
    assert runs.go(tmp_path / "killed", 5, {**given, "tables": "disk"}) == -9
    assert runs.go(tmp_path / "killed", -1, {**given, "tables": "disk"}) == 0
    check_same(tmp_path / "whole", tmp_path / "killed")
