"""A run killed with SIGKILL at random steps ends with the weights that it would have had."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from megalabel.storage.tensors import load_tensors

GO = Path(__file__).with_name("go.py")
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


def go(out: Path, killed_at: int, arguments: dict) -> int:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(GO), str(out), str(killed_at), json.dumps(arguments)],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def _same(whole: dict[str, Tensor], killed: dict[str, Tensor]) -> None:
    assert whole.keys() == killed.keys()
    for key in whole:
        assert _bytes(whole[key]) == _bytes(killed[key]), key


def _bytes(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_with_the_same_weights(case, tmp_path, rng):
    arguments = {name: value for name, value in {**COMMON, **CASES[case]}.items() if value is not None}
    assert go(tmp_path / "whole", -1, arguments) == 0
    steps = json.loads((tmp_path / "whole" / "recipe.json").read_text())["finished"]["steps"]
    for step in sorted(rng.choice(int(steps) - 2, size=3, replace=False) + 1):
        assert go(tmp_path / "killed", int(step), arguments) == -9
    assert go(tmp_path / "killed", -1, arguments) == 0
    for name in ("encoder", "head"):
        whole, killed = (
            load_tensors(tmp_path / run / "model" / f"{name}.safetensors", next_step="-")
            for run in ("whole", "killed")
        )
        _same(whole, killed)
    steps_logged = [
        json.loads(line)["step"]
        for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()
        if "validation" not in line
    ]
    assert steps_logged == sorted(steps_logged)


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


@pytest.mark.slow
@pytest.mark.parametrize("case", ON_DISK)
def test_a_killed_run_with_tables_on_disk_ends_with_the_weights_of_one_in_memory(case, tmp_path):
    given = {name: value for name, value in {**COMMON, **ON_DISK[case], "epochs": 1}.items() if value is not None}
    assert go(tmp_path / "whole", -1, given) == 0
    assert go(tmp_path / "killed", 5, {**given, "tables": "disk"}) == -9
    assert go(tmp_path / "killed", -1, {**given, "tables": "disk"}) == 0
    for part in ("encoder", "head"):
        runs = (tmp_path / run / "model" / f"{part}.safetensors" for run in ("whole", "killed"))
        _same(*(load_tensors(run, next_step="-") for run in runs))
