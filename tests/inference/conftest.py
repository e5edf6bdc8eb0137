import pytest
from support.animals import animals

import megalabel
from megalabel.recipes import get


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The folder of a small data set."""
    return animals(tmp_path_factory.mktemp("animals") / "base")


@pytest.fixture(scope="session")
def run(base, tmp_path_factory):
    """The folder of a linear run on it."""
    corpus, out = megalabel.Corpus.open(base), tmp_path_factory.mktemp("runs") / "linear"
    megalabel.train(get("linear")(corpus), out=out, quiet=True)
    return out


@pytest.fixture(scope="session")
def linear(run):
    """The model of that run."""
    return megalabel.load(run)
