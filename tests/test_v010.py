"""Models and runs that version 0.1.0 wrote: they load, rank as they did, and resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import megalabel
from megalabel.recipes import get
from megalabel.storage import migrate
from megalabel.training.run_folder import held_out_rows

WRITTEN = Path(__file__).parent / "data" / "v0.1.0"
MODELS = ("renee", "cascadexml", "spartex", "spartex-dealt", "linear", "hybrid", "ensemble", "bert", "bert-frozen")
UNFINISHED = ("unfinished-renee", "unfinished-spartex")


def assert_as_expected(model, name: str) -> None:
    expected = json.loads((WRITTEN / name / "expected.json").read_text())
    ids, scores = model.topk(expected["texts"], expected["k"]).numpy()
    wanted = np.array([[-np.inf if s is None else s for s in row] for row in expected["scores"]])
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)
    near = np.abs(np.diff(wanted, axis=1)) < 2e-5  # neighbors that another processor may swap
    clear = ~(np.pad(near, ((0, 0), (0, 1))) | np.pad(near, ((0, 0), (1, 0))))
    assert np.array_equal(ids[clear], np.array(expected["labels"])[clear])


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_0_1_0_ranks_as_it_did(name, one_thread):
    assert_as_expected(megalabel.load(WRITTEN / name / "run"), name)


@pytest.mark.parametrize("name", ["spartex-dealt", "hybrid", "ensemble", "bert-frozen"])
def test_a_model_of_0_1_0_that_is_saved_again_ranks_the_same(name, one_thread, tmp_path):
    megalabel.load(WRITTEN / name / "run").save(tmp_path / "model")
    assert_as_expected(megalabel.load(tmp_path / "model"), name)


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_run_of_0_1_0_resumes_to_the_result_it_would_have_had(name, one_thread, tmp_path):
    resume = json.loads((WRITTEN / name / "resume.json").read_text())
    shutil.copytree(WRITTEN / name / "run", tmp_path / "run")
    facts = migrate.recipe_json({"recipe": resume["recipe"], "arguments": resume["arguments"]})
    recipe = get(facts["recipe"])(megalabel.Corpus.open(WRITTEN / "data"), **facts["arguments"])
    model = megalabel.train(recipe, tmp_path / "run", device="cpu", quiet=True)
    assert_as_expected(model, name)
    assert (
        json.loads((tmp_path / "run" / "recipe.json").read_text())["finished"]["steps"] == resume["steps_in_all"]
    )


def test_held_out_rows_of_0_1_0_are_those_that_were_drawn(monkeypatch):
    monkeypatch.chdir(WRITTEN)  # the run beside which `hybrid` was made is named relative to it
    rows = held_out_rows("renee/run")
    assert len(rows) == 96 // 5
    assert np.array_equal(rows, np.sort(np.random.default_rng([0, 1]).permutation(96)[:19]))
    for name in ("linear", "hybrid", "ensemble"):
        assert np.array_equal(held_out_rows(f"{name}/run"), rows)
