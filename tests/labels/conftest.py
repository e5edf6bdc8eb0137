"""What the tests of labels share: a small label tree."""

import pytest
from support.small_trees import OFFSETS, ORDER

from megalabel.labels.tree import LabelTree


@pytest.fixture
def tree():
    return LabelTree(OFFSETS, ORDER, {"source": "a test"})
