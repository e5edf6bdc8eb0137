"""Requests that are wrong: each is refused with a status and a sentence, and the server goes on."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from megalabel.serving.app import create_app

JSON = "application/json"
VALUES = (
    None,
    True,
    0,
    -1,
    1.5,
    1e400,
    10**400,
    "",
    "x",
    [],
    [1],
    [None],
    [[]],
    {},
    {"a": 1},
)  # for each key in turn


@pytest.fixture
def client(service):
    with TestClient(create_app(service)) as found:
        yield found


def body(path: str, **changes: object) -> dict:
    """A body that is right, with changes."""
    right = {
        "/v1/predict": {"texts": ["tiger"]},
        "/v1/explain": {"text": "tiger", "label": "tiger"},
        "/v1/feedback": {"text": "tiger", "accepted": ["tiger"]},
    }
    return {**right[path], **changes}


WRONG = [
    # path, body, status
    ("/v1/predict", b"", 400),
    ("/v1/predict", b"{", 400),
    ("/v1/predict", b"\xff\xfe", 400),
    ("/v1/predict", b'{"texts": ["\xff"]}', 400),
    ("/v1/predict", b"[" * 9000, 400),
    ("/v1/predict", b'{"a":' * 3000 + b"1" + b"}" * 3000, 400),
    ("/v1/predict", b'{"texts": ["a"], "k": ' + b"9" * 5000 + b"}", 400),
    ("/v1/predict", b"null", 422),
    ("/v1/predict", b"3", 422),
    ("/v1/predict", b'"text"', 422),
    ("/v1/predict", b"[]", 422),
    ("/v1/predict", b"{}", 422),
    ("/v1/predict", b'{"texts": ["a"], "k": NaN}', 422),
    ("/v1/predict", b'{"texts": ["a"], "threshold": Infinity}', 422),
    ("/v1/predict", {"texts": "tiger"}, 422),
    ("/v1/predict", {"texts": ["a", None]}, 422),
    ("/v1/predict", {"texts": ["a"] * 41}, 422),
    ("/v1/predict", {"text": "tiger"}, 422),
    ("/v1/predict", {"texts": ["a"], "top_k": 3}, 422),
    ("/v1/predict", {"texts": ["a"], "k": 0}, 422),
    ("/v1/predict", {"texts": ["a"], "k": 51}, 422),
    ("/v1/predict", {"texts": ["a"], "k": 3.0}, 422),
    ("/v1/predict", {"texts": ["a"], "k": True}, 422),
    ("/v1/predict", {"texts": ["a"], "threshold": 2}, 422),
    ("/v1/predict", {"texts": ["a"], "min_labels": 2}, 422),
    ("/v1/predict", {"texts": ["a"], "min_labels": 20, "threshold": 0.1}, 422),
    ("/v1/predict", {"texts": ["a"], "precision": 0.9}, 422),
    ("/v1/predict", {"texts": ["a"], "coverage": 1.5}, 422),
    ("/v1/predict", {"texts": ["a"], "coverage": 0.5, "k": 3}, 422),
    ("/v1/predict", {"texts": ["a"], "tail": 2}, 422),
    ("/v1/predict", {"texts": ["a"], "tail": "most"}, 422),
    ("/v1/predict", {"texts": ["a"], "tail": 0.5}, 422),
    ("/v1/predict", {"texts": ["a"], "allow": ["unicorn"]}, 422),
    ("/v1/predict", {"texts": ["a"], "deny": ["tiger"] * 31}, 422),
    ("/v1/predict", {"texts": ["a"], "given": [["tiger"]]}, 422),
    ("/v1/predict", {"texts": ["a"], "given": []}, 422),
    ("/v1/predict", {"texts": ["a"], "given": ["tiger"]}, 422),
    ("/v1/predict", {"texts": ["a"], "given": [[]], "allow": ["tiger"]}, 422),
    ("/v1/predict", {"texts": ["a"], "given": [["unicorn"]], "model": "animals"}, 422),
    ("/v1/predict", {"texts": ["a"], "explain": True}, 422),
    ("/v1/predict", {"texts": ["a"], "model": "nobody"}, 404),
    ("/v1/predict", {"texts": ["a" * 30_000]}, 413),
    ("/v1/explain", {"text": "tiger", "label": "unicorn"}, 422),
    ("/v1/explain", {"text": "tiger", "label": 3}, 422),
    ("/v1/explain", {"text": "tiger"}, 422),
    ("/v1/explain", {"text": ["tiger"], "label": "tiger"}, 422),
    ("/v1/explain", {"text": "tiger", "label": "tiger", "model": "nobody"}, 404),
    ("/v1/feedback", {"text": "tiger"}, 422),
    ("/v1/feedback", {"text": " ", "accepted": ["tiger"]}, 422),
    ("/v1/feedback", {"text": "a", "accepted": ["tiger"], "rejected": ["tiger"]}, 422),
    ("/v1/feedback", {"text": "a", "accepted": [" "]}, 422),
    ("/v1/feedback", {"text": "a", "accepted": ["a\nb"]}, 422),
    ("/v1/feedback", {"text": "a", "added": ["x" * 1001]}, 422),
    ("/v1/feedback", {"text": "\ud800", "accepted": ["tiger"]}, 422),
    ("/v1/feedback", {"text": "a", "accepted": ["\ud800"]}, 422),
    ("/v1/feedback", {"text": "a", "accepted": ["tiger"], "model": "nobody"}, 404),
]  # fmt: skip


def refused(answer, status: int | None = None) -> None:
    """Checks that an answer is a refusal."""
    assert 400 <= answer.status_code < 500
    if status is not None:
        assert answer.status_code == status
    error = answer.json()["error"]
    assert error["type"] and error["message"]
    assert "Traceback" not in answer.text and len(answer.text) < 1500


@pytest.mark.parametrize(("path", "wrong", "status"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_a_wrong_body_is_refused(client, path, wrong, status):
    content = wrong if isinstance(wrong, bytes) else json.dumps(wrong).encode()
    refused(client.post(path, content=content, headers={"Content-Type": JSON}), status)
    assert client.post(path, json=body(path)).status_code in (200, 201)


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/explain", "/v1/feedback"])
def test_no_value_of_any_key_makes_the_server_fail(client, path):
    keys = client.get("/openapi.json").json()["components"]["schemas"]
    name = {"/v1/predict": "Question", "/v1/explain": "Explain", "/v1/feedback": "Feedback"}[path]
    for key in keys[name]["properties"]:
        for value in VALUES:
            content = json.dumps(body(path, **{key: value})).encode()
            answer = client.post(path, content=content, headers={"Content-Type": JSON})
            if answer.status_code not in (200, 201):
                refused(answer)


def test_wrong_methods_paths_and_content_types_are_refused(client):
    refused(client.get("/v1/predict"), 405)
    refused(client.post("/v1/models"), 405)
    refused(client.put("/v1/predict", json={}), 405)
    refused(client.get("/v1/predict/"), 404)
    refused(client.get("/v1/../etc/passwd"), 404)
    refused(client.get("/%00%ff"), 404)
    right = json.dumps({"texts": ["a"]}).encode()
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
        "application/jsonx",
    ):
        refused(client.post("/v1/predict", content=right, headers={"Content-Type": kind}), 415)
    assert client.post("/v1/predict", content=right, headers={"Content-Type": f"{JSON}; charset=utf-8"}).is_success


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=1e1", "limit=²", f"limit={'9' * 400}", f"q={'a' * 31}",
     "model=nobody", "limit="],
)  # fmt: skip
def test_a_wrong_search_is_refused(client, query):
    refused(client.get(f"/v1/labels?{query}"), 404 if "model" in query else 422)


@pytest.mark.parametrize(
    "query", ["", "q", "q=%00", "q=%ff%fe", "q=%F0%9F%98%80", "q=a&q=b", "x=1", "q=%0a", "&&&"]
)
def test_an_odd_search_is_answered(client, query):
    assert client.get(f"/v1/labels?{query}").status_code == 200


def test_wrong_requests_of_annifs_clients_are_refused(client):
    path = "/annif/v1/projects/linear"
    refused(client.get("/annif/v1/projects/nobody"), 404)
    refused(client.get("/annif/v1/projects/"), 404)
    refused(client.get(f"{path}/suggest"), 405)
    refused(client.post("/annif/v1/projects/nobody/suggest", data={"text": "a"}), 404)
    refused(client.post(f"{path}/suggest", json={"text": "a"}), 415)
    for wrong in ({"limit": "-1"}, {"limit": "x"}, {"limit": "1.5"}, {"threshold": "2"}, {"threshold": "nan"}):
        refused(client.post(f"{path}/suggest", data={"text": "a", **wrong}), 422)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for content in (b"text=%ff", b"\xff=1", b"&".join(b"a=1" for _ in range(130))):
        refused(client.post(f"{path}/suggest", content=content, headers=form), 400)
    for documents in (None, 3, ["a"], [{}], [{"text": 1}], [{"text": "a", "x": 1}], [{"text": "a"}] * 33):
        refused(client.post(f"{path}/suggest-batch", json={"documents": documents}), 422)


def test_odd_texts_are_answered(client):
    texts = ["", " ", "\x00", "\ud800", "\U0001f600" * 50, "\u202e", "a" * 10_000, "\n\n", "٣", "<script>"]
    for model in ("linear", "neural", "animals"):
        answer = client.post("/v1/predict", content=json.dumps({"texts": texts, "model": model, "k": 2}),
                             headers={"Content-Type": JSON})  # fmt: skip
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["results"]) == len(texts)
