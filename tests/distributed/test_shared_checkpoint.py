"""Checkpoints of a recipe whose labels several processes own, resumed by other numbers of processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.training.checkpoints import is_shared

BOUNDS = {1: (0, 7), 2: (0, 3, 7), 4: (0, 2, 2, 5, 7)}
SAVE, LOAD = (f"support.recipe_programs:{name}_recipe" for name in ("save", "load"))


def whole(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The state of all processes: rows of labels one after the other, and everything else as in the last one."""
    found = {}
    for name, last in states[-1].items():
        parts = [state[name] for state in states if name in state]
        rows = sum(len(part) for part in parts) if last.dim() and "encoder" not in name else 0
        found[name] = torch.cat(parts) if rows in (5, 7) else last
        if rows == 5:  # the first process had no state: it is zeros
            found[name] = torch.cat([last.new_zeros(2, *last.shape[1:]), found[name]])
    return found


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_weights_and_optimizer_states_are_resumed_by_other_numbers_of_processes(ranks, tmp_path, kind):
    saved = whole(ranks.run(4, SAVE, tmp_path, kind, BOUNDS[4]))
    assert sum("head" in name for name in saved) >= 5
    for size in (1, 2):
        found = ranks.run(size, LOAD, tmp_path / "step-000000003", kind, BOUNDS[size])
        assert [progress for progress, _ in found] == [{"step": 3}] * size
        loaded = whole([state for _, state in found])
        assert loaded.keys() == saved.keys()
        for name, wanted in saved.items():
            assert torch.equal(loaded[name], wanted), name


@pytest.mark.parametrize("kind", ["spartex"])
def test_a_run_of_four_processes_goes_on_with_two_and_three_and_its_model_loads_in_one(ranks, tmp_path, kind):
    relay, texts = "support.recipe_programs:relay", list(planted().test.texts[:20])
    four, two, three = (tmp_path / name for name in ("four", "two", "three"))
    found = ranks.run(4, relay, four, four, kind, texts, 5)
    for size, source, target in ((2, four, two), (3, two, three), (3, three, None)):
        found += ranks.run(size, relay, source, target, kind, texts)
    model = megalabel.load(three).topk(texts, 5)
    assert not (three / "last").exists()
    for ids, scores in found:
        np.testing.assert_array_equal(ids, model.ids)
        np.testing.assert_allclose(scores, model.scores, rtol=1e-6, atol=1e-6)


def test_a_checkpoint_that_has_lost_all_files_is_not_taken_for_that_of_one_process(tmp_path):
    (tmp_path / "manifest.json").touch()
    assert is_shared(tmp_path)
    (tmp_path / "head.safetensors").touch()
    assert not is_shared(tmp_path)
