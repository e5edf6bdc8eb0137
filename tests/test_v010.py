"""Runs that version 0.1.0 wrote: unfinished ones resume, and their held-out rows are known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.stored_models import assert_as_expected

import megalabel
from megalabel.recipes import get
from megalabel.storage import migrate
from megalabel.training.run_folder import held_out_rows

WRITTEN = Path(__file__).parent / "data" / "v0.1.0"
UNFINISHED = ("unfinished-renee", "unfinished-spartex")


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_run_of_0_1_0_resumes_to_the_result_it_would_have_had(name, one_thread, tmp_path):
    resume = json.loads((WRITTEN / name / "resume.json").read_text())
    shutil.copytree(WRITTEN / name / "run", tmp_path / "run")
    facts = migrate.recipe_json({"recipe": resume["recipe"], "arguments": resume["arguments"]})
    recipe = get(facts["recipe"])(megalabel.Corpus.open(WRITTEN / "data"), **facts["arguments"])
    model = megalabel.train(recipe, tmp_path / "run", device="cpu", quiet=True)
    assert_as_expected(model, WRITTEN / name)
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
