"""The routes: what they answer, and who may ask."""

from __future__ import annotations

import errno
import io
import json
import os

import pytest
from starlette.testclient import TestClient

import megalabel
from megalabel.serving.app import create_app
from megalabel.serving.limits import Limits
from megalabel.serving.logs import Log
from megalabel.serving.service import Service

TOKEN = "0123456789abcdef"


@pytest.fixture
def client(service):
    with TestClient(create_app(service)) as found:
        yield found


def post(client, path: str, **body):
    return client.post(path, json=body)


def test_predictions_are_those_of_the_library(client, linear):
    answer = post(client, "/v1/predict", texts=["near old tiger", ""], k=2).json()
    assert (answer["model"], answer["version"], answer["score_type"]) == ("linear", linear.version, "probability")
    right = linear.model.predict(["near old tiger", ""], 2).records()
    assert [result["labels"] for result in answer["results"]] == [record["labels"] for record in right]


def test_each_way_to_ask_gives_what_the_library_gives(client, animal):
    texts = ["purr hive", "bark leash wing"]
    for asked in (
        {"threshold": 0.2, "min_labels": 1},
        {"k": 3, "tail": 0.5},
        {"k": 2, "allow": ["cat", "dog", "cat"]},
        {"k": 3, "deny": ["bee"]},
        {"k": 3, "given": [["bee"], []]},
        {"k": 2, "probabilities": False},
    ):
        answer = post(client, "/v1/predict", texts=texts, model="animals", **asked).json()
        right = list(animal.model.predict(texts, **asked).records())
        assert [result["labels"] for result in answer["results"]] == [record["labels"] for record in right], asked


def test_no_texts_get_no_answers_and_an_empty_list_of_labels_allows_none(client):
    assert post(client, "/v1/predict", texts=[]).json()["results"] == []
    assert post(client, "/v1/predict", texts=["tiger"], allow=[]).json()["results"] == [{"labels": []}]


def test_models_say_what_they_can(client):
    models = {model["name"]: model for model in client.get("/v1/models").json()["models"]}
    assert list(models) == ["linear", "neural", "animals"]
    assert models["linear"]["default"] and not models["neural"]["default"]
    assert models["animals"]["completes"] and not models["linear"]["completes"]
    assert all(model["explains"] and model["feedback"] for model in models.values())
    assert models["animals"]["recipe"] == "retrieval"


def test_an_explanation_shows_training_texts_and_the_score_of_the_prediction(client, animal):
    (result,) = post(client, "/v1/predict", texts=["purr whisker"], k=1, model="animals").json()["results"]
    (best,) = result["labels"]
    found = post(client, "/v1/explain", text="purr whisker", label="cat", model="animals").json()
    assert best == {"id": found["label"]["id"], "label": "cat", "score": found["score"]}
    assert found["label"]["training_texts"] == 15
    near = found["neighbors"][0]
    assert near["labels"] == ["cat"] and near["has_label"]
    assert set(near["text"].split()) == {"purr", "whisker"}


def test_a_label_that_is_not_reached_is_explained_too(client):
    found = post(client, "/v1/explain", text="purr whisker", label="dog", model="animals").json()
    assert found["rank"] is None
    assert found["why_not"]


def test_predictions_come_with_evidence_if_asked(client):
    (result,) = post(client, "/v1/predict", texts=["near old tiger"], k=2, explain=True).json()["results"]
    assert [one["id"] for one in result["evidence"]] == [label["id"] for label in result["labels"]]
    assert [word["word"] for word in result["evidence"][0]["words"]] == ["near", "old", "tiger"]


def test_labels_are_found_as_one_types(client):
    found = client.get("/v1/labels", params={"q": "c", "model": "animals", "limit": 5}).json()["labels"]
    assert [(label["label"], label["training_texts"]) for label in found] == [("cat", 15), ("cow", 15)]


def test_feedback_becomes_training_data(client, service):
    said = {"text": "purr\u2028 “x”\n", "accepted": ["cat"], "rejected": ["dog"], "added": ["new", "cat"]}
    answer = post(client, "/v1/feedback", **said, model="animals")
    assert answer.status_code == 201
    post(client, "/v1/feedback", text="bark", rejected=["cat"])
    lines = service.feedback.path.read_text().split("\n")
    first = json.loads(lines[0])
    assert (first["text"], first["labels"], first["rejected"]) == (said["text"], ["cat", "new"], ["dog"])
    assert (first["model"], first["version"]) == ("animals", service.model("animals").version)
    corpus = megalabel.Corpus.open(service.feedback.path)
    assert list(corpus.train.texts)[1] == "bark"
    assert sorted(corpus.label_texts) == ["cat", "new"]


def test_feedback_that_cannot_be_stored_leaves_the_file_as_it_was(client, service, monkeypatch):
    post(client, "/v1/feedback", text="bark", accepted=["dog"])
    before = service.feedback.path.read_bytes()
    write = os.write

    def full_after_five_bytes(file: int, data: bytes) -> int:
        if not data.startswith(b'{"tex'):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:5])

    monkeypatch.setattr(os, "write", full_after_five_bytes)
    assert post(client, "/v1/feedback", text="purr", accepted=["cat"]).status_code == 503
    assert service.feedback.path.read_bytes() == before


def test_without_a_file_there_is_no_feedback(linear):
    with TestClient(create_app(Service([linear], Limits()))) as client:
        assert post(client, "/v1/feedback", text="a", accepted=["tiger"]).status_code == 404
        assert not client.get("/v1/models").json()["models"][0]["feedback"]


def test_a_token_is_needed_where_there_are_some_except_for_the_page_and_health(linear):
    service = Service([linear], Limits(), tokens=[b"another-token-000", TOKEN.encode()])
    with TestClient(create_app(service)) as client:
        for path in ("/", "/health", "/ready", "/openapi.json"):
            assert client.get(path).status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            for path in ("/v1/models", "/metrics", "/v1/labels", "/nowhere"):
                answer = client.get(path, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_pages_of_other_sites_are_let_in_only_if_named(service):
    origin = {"Origin": "https://a.example"}
    preflight = {
        **origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    with TestClient(create_app(service)) as client:
        assert "access-control-allow-origin" not in client.get("/v1/models", headers=origin).headers
        assert client.options("/v1/predict", headers=preflight).status_code == 405
    with TestClient(create_app(service, ["https://a.example"])) as client:
        allowed = client.options("/v1/predict", headers=preflight).headers["access-control-allow-origin"]
        assert allowed == "https://a.example"
        other = client.get("/v1/models", headers={"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers


def test_metrics_count_requests_and_texts(client):
    post(client, "/v1/predict", texts=["tiger", "owl"])
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'megalabel_requests_total{method="POST",path="/v1/predict",status="200"} 1.0' in text
    assert 'megalabel_requests_total{method="GET",path="other",status="404"} 1.0' in text
    assert 'megalabel_texts_total{model="linear"} 2.0' in text


def test_requests_are_logged_as_json_on_request(linear):
    stream = io.StringIO()
    service = Service([linear], Limits(), log=Log("json", requests=True, stream=stream))
    with TestClient(create_app(service)) as client:
        number = post(client, "/v1/predict", texts=["tiger"]).headers["x-request-id"]
    event = json.loads(stream.getvalue())
    assert (event["id"], event["path"], event["status"], event["texts"]) == (number, "/v1/predict", 200, 1)
    assert event["ms"] > 0


def test_an_error_of_the_server_is_logged_with_a_number_and_not_shown(linear, monkeypatch):
    stream = io.StringIO()
    service = Service([linear], Limits(), log=Log("json", stream=stream))
    monkeypatch.setattr(service, "facts", lambda: 1 / 0)
    with TestClient(create_app(service)) as client:
        answer = client.get("/v1/models")
    event = json.loads(stream.getvalue())
    assert answer.status_code == 500
    assert event["id"] in answer.json()["error"]["message"]
    assert "ZeroDivisionError" in event["traceback"]
    assert "Zero" not in answer.text


def test_a_server_that_stops_says_so_and_closes_connections(client, service):
    assert client.get("/ready").status_code == 200
    service.draining = True
    assert client.get("/ready").status_code == 503
    answer = post(client, "/v1/predict", texts=["tiger"])
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")


def test_the_page_holds_all_it_needs(client):
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert len(answer.content) <= 150_000


def test_the_document_describes_the_routes_and_their_limits(client, service):
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        (method,) = methods
        answer = client.request(method, path, json={} if method == "post" else None)
        assert answer.status_code in (200, 422)
        assert str(answer.status_code) in methods[method]["responses"]
    question = document["components"]["schemas"]["Question"]["properties"]
    assert question["texts"]["maxItems"] == service.limits.texts
    assert question["k"]["maximum"] == service.limits.k


def test_annifs_clients_are_answered_at_their_own_paths(client, animal):
    assert client.get("/annif/v1/").json()["title"] == "megalabel"
    projects = client.get("/annif/v1/projects").json()["projects"]
    assert [project["project_id"] for project in projects] == ["linear", "neural", "animals"]
    assert client.get("/annif/v1/projects/animals").json()["backend"] == {"backend_id": "retrieval"}
    asked = {"text": "purr hive", "limit": "2", "threshold": "0.01", "project": "ignored"}
    found = client.post("/annif/v1/projects/animals/suggest", data=asked).json()["results"]
    (right,) = animal.model.predict(["purr hive"], 2, threshold=0.01)
    assert [(subject["label"], subject["score"]) for subject in found] == [
        (label, pytest.approx(score, 1e-5)) for label, score in right
    ]
    assert [subject["uri"] for subject in found] == [label for label, _ in right]
    documents = [{"document_id": "a", "text": "purr hive"}, {"text": "bark"}]
    batch = client.post("/annif/v1/projects/animals/suggest-batch?limit=1", json={"documents": documents}).json()
    assert [document["document_id"] for document in batch] == ["a", None]
    assert batch[0]["results"] == found[:1]


def test_log_odds_are_probabilities_for_annif(client, neural):
    found = client.post("/annif/v1/projects/neural/suggest", data={"text": "near old tiger", "limit": "5"}).json()
    (right,) = neural.model.predict(["near old tiger"], 5, probabilities=True)
    assert len(right) == 5 and min(score for _, score in right) < 0.5  # whose logit is below 0
    assert [(subject["label"], subject["score"]) for subject in found["results"]] == [
        (label, pytest.approx(score, 1e-5)) for label, score in right
    ]
