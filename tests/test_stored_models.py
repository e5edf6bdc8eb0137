"""Models that releases have stored load, rank as they did, and can be saved again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.stored_models import assert_as_expected

import megalabel

STORED = Path(__file__).parent / "data"
MODELS = sorted(
    file.parent.relative_to(STORED).as_posix()
    for file in STORED.glob("v*/*/expected.json")
    if not (file.parent / "resume.json").exists()  # unfinished runs
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_release_has_stored_models():
    assert {name.partition("/")[0] for name in MODELS} >= {"v0.1.0", "v0.2.0"}
    assert len(MODELS) >= 20


@pytest.mark.parametrize("name", MODELS)
def test_a_stored_model_ranks_as_it_did(name):
    assert_as_expected(megalabel.load(STORED / name / "run"), STORED / name)


@pytest.mark.parametrize(
    "name", ["v0.1.0/spartex-dealt", "v0.1.0/hybrid", "v0.1.0/ensemble", "v0.1.0/bert-frozen"]
)
def test_a_stored_model_that_is_saved_again_ranks_the_same(name, tmp_path):
    megalabel.load(STORED / name / "run").save(tmp_path / "model")
    assert_as_expected(megalabel.load(tmp_path / "model"), STORED / name)
