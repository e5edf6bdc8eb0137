"""Small models behind a service, and a client without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.animals import animals

import megalabel
from megalabel.recipes.retrieval import retrieval
from megalabel.serving.feedback import FeedbackFile
from megalabel.serving.limits import Limits
from megalabel.serving.served import ServedModel
from megalabel.serving.service import Service

WRITTEN = Path(__file__).parents[1] / "data" / "v0.1.0"
SMALL = Limits(body_bytes=20_000, texts=40, k=50, listed_labels=30, query_chars=30, explained=4, waiting_texts=100)


@pytest.fixture(scope="session")
def linear():
    return ServedModel.load("linear", WRITTEN / "linear" / "run")


@pytest.fixture(scope="session")
def neural():
    return ServedModel.load("neural", WRITTEN / "renee" / "run")


@pytest.fixture(scope="session")
def animal_run(tmp_path_factory):
    """A run of retrieval, which knows its training texts and which labels occur together."""
    folder = tmp_path_factory.mktemp("animals")
    corpus = megalabel.Corpus.open(animals(folder / "data"))
    megalabel.train(retrieval(corpus), folder / "run", quiet=True)
    return folder / "run"


@pytest.fixture(scope="session")
def animal(animal_run):
    return ServedModel.load("animals", animal_run)


@pytest.fixture
def service(linear, neural, animal, tmp_path):
    found = Service([linear, neural, animal], SMALL, feedback=FeedbackFile(tmp_path / "feedback.jsonl"))
    yield found
    found.close()
