"""Models with added, renamed, merged and removed labels behind a server, and feedback on them that is learned."""

from __future__ import annotations

import pytest
from serving.conftest import PATIENT
from starlette.testclient import TestClient

import megalabel
from megalabel.serving.app import create_app
from megalabel.serving.feedback import FeedbackFile
from megalabel.serving.served import ServedModel
from megalabel.serving.service import Service

TEXTS = ["near old tiger", "leash wing"]


@pytest.fixture
def changed(linear, tmp_path):
    """A saved model with changed labels."""
    names = list(linear.model.label_texts)
    model = linear.model.with_labels(
        {"snow leopard": ["tiger of the snow"], "yeti": []},
        texts=TEXTS,
        metadata={"yeti": {"uri": "http://example.org/yeti"}},
    )
    model = (
        model.rename_labels({names[0]: "renamed"}).merge_labels({"both": names[1:3]}).without_labels([names[3]])
    )
    model.partial_fit(TEXTS, [["yeti"], ["renamed"]])
    model.save(tmp_path / "m")
    return tmp_path / "m"


def test_a_changed_model_answers_and_its_feedback_is_learned(changed, command, tmp_path):
    served = ServedModel.load("changed", changed)
    assert served.model.metadata.uris[served.model.label_texts.index("yeti")] == "http://example.org/yeti"
    service = Service([served], PATIENT, feedback=FeedbackFile(tmp_path / "feedback.jsonl"))
    with TestClient(create_app(service)) as client:
        answer = client.post("/v1/predict", json={"texts": TEXTS, "k": 4}).json()
        right = served.model.predict(TEXTS, 4).records()
        assert [result["labels"] for result in answer["results"]] == [record["labels"] for record in right]
        found = [label["label"] for label in client.get("/v1/labels", params={"q": "snow"}).json()["labels"]]
        assert found == ["snow leopard"]
        best = answer["results"][0]["labels"][0]["label"]
        said = {"text": TEXTS[0], "rejected": [best], "added": ["new at the server"]}
        assert client.post("/v1/feedback", json=said).status_code == 201
        uri = {"text": TEXTS[1], "accepted": ["http://example.org/yeti"]}
        assert client.post("/v1/feedback", json=uri).status_code == 201
    service.close()
    status, out, err = command("update", changed, tmp_path / "feedback.jsonl", "-o", tmp_path / "new")
    assert status == 0, err
    assert "learned 2 texts" in out and "1 rejected label" in out and "added 1 label" in out
    model = megalabel.load(tmp_path / "new")
    assert "new at the server" in model.label_texts
    assert model.metadata.uris[model.label_texts.index("yeti")] == "http://example.org/yeti"
