"""States of optimizers as JSON and tensors, and those of several processes merged into one."""

from __future__ import annotations

import json

import torch

from megalabel.training.nested_state import merged, with_tensors, without_tensors


def test_a_state_is_put_together_again_after_json():
    state = {"state": {0: {"mean": torch.ones(2), "steps": 3}}, "lr": 0.5, "more": [None, torch.zeros(1)]}
    tensors: dict[str, torch.Tensor] = {}
    rest = json.loads(json.dumps(without_tensors(state, "", tensors)))
    assert sorted(tensors) == ["/more/1", "/state/0/mean"]
    again = with_tensors(rest, tensors)
    assert again["lr"] == 0.5 and again["more"][0] is None
    assert again["state"][0]["steps"] == 3 and again["state"][0]["mean"] is tensors["/state/0/mean"]


def test_merged_states_have_the_tensors_of_either_process_and_the_larger_counts():
    first, other = {"state": [{"steps": 0, "buffer": None}, {}]}, {
        "state": [{"steps": 4, "buffer": torch.ones(1)}, {"mean": torch.ones(1)}]
    }  # fmt: skip
    for a, b in ((first, other), (other, first)):
        rest = merged(*(without_tensors(one, "", {}) for one in (a, b)))
        found = with_tensors(rest, {"/state/0/buffer": torch.ones(1), "/state/1/mean": torch.zeros(1)})
        assert found["state"][0]["steps"] == 4
        assert found["state"][0]["buffer"].tolist() == [1.0]
        assert found["state"][1]["mean"].tolist() == [0.0]
