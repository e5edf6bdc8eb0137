"""A Chromium, a small model, a server for it, and the page in a tab."""

from __future__ import annotations

import pytest
from support.animals import animals
from support.browser import chromium, chromium_path, opened, served

pytest.importorskip("starlette", reason="the extra serve is not installed")
from support.page_steps import trained

from megalabel.serving.feedback import FeedbackFile
from megalabel.serving.service import Service


@pytest.fixture(scope="module")  # no longer, as its event loop is in the way of other tests
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    chromium_path()  # skips before anything is trained
    return animals(tmp_path_factory.mktemp("page") / "data")


@pytest.fixture(scope="session")
def model(data):
    return trained(data, data.parent / "run")


@pytest.fixture
def feedback(tmp_path):
    return tmp_path / "feedback.jsonl"


@pytest.fixture
def address(model, feedback):
    with served(Service([model], feedback=FeedbackFile(feedback))) as found:
        yield found


@pytest.fixture
def page(browser, address):
    """The page in a tab of its own."""
    with opened(browser, address) as found:
        yield found
