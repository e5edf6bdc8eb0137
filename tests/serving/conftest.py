"""Small models behind a service, and a client without a network."""

from __future__ import annotations

from dataclasses import replace
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
PATIENT = Limits(seconds=600)  # no request waits too long, however busy the machine is
SMALL = replace(PATIENT, body_bytes=20_000, texts=40, k=50, listed_labels=30, query_chars=30, explained=4,
                waiting_texts=100)  # fmt: skip


def warmed(name: str, run: Path) -> ServedModel:
    """A model as a server has it before it answers: the first answer may have to compile code."""
    model = ServedModel.load(name, run)
    model.warm_up()
    return model


@pytest.fixture(scope="session")
def linear():
    return warmed("linear", WRITTEN / "linear" / "run")


@pytest.fixture(scope="session")
def neural():
    return warmed("neural", WRITTEN / "renee" / "run")


@pytest.fixture(scope="session")
def animal_run(tmp_path_factory):
    """A run of retrieval, which knows its training texts and which labels occur together."""
    folder = tmp_path_factory.mktemp("animals")
    corpus = megalabel.Corpus.open(animals(folder / "data"))
    megalabel.train(retrieval(corpus), folder / "run", quiet=True)
    return folder / "run"


@pytest.fixture(scope="session")
def animal(animal_run):
    return warmed("animals", animal_run)


@pytest.fixture
def service(linear, neural, animal, tmp_path):
    found = Service([linear, neural, animal], SMALL, feedback=FeedbackFile(tmp_path / "feedback.jsonl"))
    yield found
    found.close()
