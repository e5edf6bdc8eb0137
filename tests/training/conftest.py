"""What the tests of training share: the planted data and a finished run on it."""

import pytest
from planted import planted
from support.killed_runs import started
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


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A process that forks runs; see `support/killed_runs.py`."""
    with started(tmp_path_factory.mktemp("runs")) as found:
        yield found
