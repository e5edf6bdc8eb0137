"""Labels with URIs and other names behind a server: so named in requests and feedback, and told in answers."""

from __future__ import annotations

import json

import pytest
from serving.conftest import PATIENT
from starlette.testclient import TestClient
from untrained import untrained

from megalabel.data.metadata_records import metadata_of
from megalabel.serving.app import create_app
from megalabel.serving.feedback import FeedbackFile
from megalabel.serving.label_lookup import LabelLookup
from megalabel.serving.served import ServedModel
from megalabel.serving.service import Service

NAMES = ["animal", "cat", "dog", "rock"]
RECORDS = {
    "animal": {"notation": "59"},
    "cat": {
        "uri": "http://e.org/cat", "names": {"fi": "kissa"}, "alternative_names": ["puss"], "parents": ["animal"],
        "other_uris": ["http://e.org/felis"],
    },
    "dog": {"uri": "http://e.org/dog", "alternative_names": ["puss", "rock"]},
}  # fmt: skip


@pytest.fixture
def model():
    found = untrained(NAMES)
    found.metadata = metadata_of(NAMES, RECORDS)
    return found


@pytest.fixture
def client(model, tmp_path):
    service = Service([ServedModel("m", "1", model)], PATIENT, feedback=FeedbackFile(tmp_path / "f.jsonl"))
    with TestClient(create_app(service)) as found:
        yield found
    service.close()


def test_a_lookup_finds_names_then_uris_then_what_stands_for_one_label(model):
    lookup = LabelLookup(NAMES, model.metadata)
    asked = {
        "cat": [1], "<http://e.org/cat>": [1], "http://e.org/felis": [1], "kissa": [1], "59": [0], "rock": [3],
        "puss": [], "": [], "<>": [], "Cat": [],
    }  # fmt: skip
    assert {name: lookup.ids(name) for name in asked} == asked


def test_labels_are_named_by_uri_in_requests_and_told_with_it(client, model):
    asked = {"texts": ["a b"], "k": 2, "allow": ["http://e.org/cat", "59"], "language": "fi", "ancestors": "raise"}
    (result,) = client.post("/v1/predict", json=asked).json()["results"]
    right = model.predict(["a b"], 2, allow=["cat", "animal"], language="fi", ancestors="raise")
    assert result["labels"] == next(right.records())["labels"]
    assert {"kissa", "http://e.org/cat"} <= {value for label in result["labels"] for value in label.values()}
    assert client.post("/v1/predict", json={**asked, "allow": ["puss"]}).status_code == 422
    for wrong in (
        {"language": "sv"},
        {"ancestors": "up"},
        {"ancestors": "add", "allow": None, "given": [["cat"]]},
    ):
        found = {key: value for key, value in {**asked, **wrong}.items() if value is not None}
        assert client.post("/v1/predict", json=found).status_code == 422
    told = client.get("/v1/labels?q=cat").json()["labels"][0]
    assert (told["label"], told["uri"]) == ("cat", "http://e.org/cat")


def test_feedback_names_labels_as_the_model_does(client, tmp_path):
    body = {"text": "t", "accepted": ["kissa", "cat"], "added": ["new", "http://e.org/dog"], "rejected": ["59"]}
    stored = client.post("/v1/feedback", json=body).json()
    assert stored["labels"] == ["cat", "new", "dog"] and stored["rejected"] == ["animal"]
    assert json.loads((tmp_path / "f.jsonl").read_text())["labels"] == ["cat", "new", "dog"]
    assert (
        client.post("/v1/feedback", json={"text": "t", "accepted": ["cat"], "rejected": ["kissa"]}).status_code
        == 422
    )
