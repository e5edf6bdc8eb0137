"""What the tests of recipes share."""

import pytest
from bag_runs import trained


@pytest.fixture
def nothing_long(monkeypatch):
    """Fails a test in which an encoder is loaded, a text tokenized or a label tree built."""

    def long(*_, **__):
        raise AssertionError("something long has begun")

    for name in ("recipes.shared.build_tree", "recipes.sparse_layer.build_tree", "recipes.shared.text_side"):
        monkeypatch.setattr(f"megalabel.{name}", long)


@pytest.fixture(scope="session")
def bag_run(tmp_path_factory):
    """The folder of a finished run of renee on the planted data; not to be written to."""
    return trained("renee", tmp_path_factory.mktemp("bag") / "renee")
