"""What the tests of training share: the planted data and a finished run on it."""

import pytest
from planted import planted
from support.light_runs import LIGHT

import megalabel
from megalabel.recipes.renee import renee


@pytest.fixture(scope="session")
def data():
    return planted()


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "r"
    return out, megalabel.train(renee(data, **LIGHT), out, quiet=True)
