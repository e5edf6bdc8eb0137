"""The OpenAPI document of the server, with the limits that it runs with."""

from __future__ import annotations

from typing import Any, get_args

from megalabel.labels.ancestors import Ancestors
from megalabel.serving.limits import FOUND, Limits
from megalabel.version import __version__

Schema = dict[str, Any]
STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
ERRORS = {
    "400": "The body is not JSON.",
    "401": "A token is missing or wrong.",
    "404": "There is no such model, or the server takes no feedback.",
    "408": "The request took too long.",
    "413": "The body is too large.",
    "415": "The content type is not application/json.",
    "422": "A value is not what it should be.",
    "429": "Too many texts wait; try again after Retry-After seconds.",
    "503": "The server is stopping, or could not store or load something.",
}
GET_ERRORS = ("401", "404", "408", "422", "503")


def document(limits: Limits, *, secured: bool) -> Schema:
    """The document; `secured` says whether clients need a token."""
    paths = {
        "/v1/models": {"get": _get("The models and what they can do.", "Models")},
        "/v1/predict": {"post": _post("The best labels of each text.", "Question", "Answer")},
        "/v1/explain": {"post": _post("Why a text has a label, or has not.", "Explain", "Explanation")},
        "/v1/labels": {
            "get": _get("Labels whose names have words that begin as typed.", "Labels", _search(limits))
        },
        "/v1/feedback": {"post": _post("Stores which labels of a text are right.", "Feedback", "Stored", "201")},
        "/health": {"get": _get("The server runs.", "Health")},
        "/ready": {"get": _get("The server answers; 503 while it stops.", "Ready")},
    }
    components: Schema = {"schemas": {**_requests(limits), **_answers()}}
    found: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "megalabel", "version": __version__},
        "paths": paths,
        "components": components,
    }
    if secured:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _requests(limits: Limits) -> dict[str, Schema]:
    names = _list(STRING, limits.listed_labels)
    model = {**STRING, "description": "The name of a model; without it the default one answers."}
    label = {"type": "string", "pattern": "\\S", "maxLength": 1000}
    question = {
        "texts": _list(STRING, limits.texts),
        "model": model,
        "k": {"type": "integer", "minimum": 1, "maximum": limits.k},
        "threshold": {**NUMBER, "description": "Labels with lower scores are left out."},
        "min_labels": {"type": "integer", "minimum": 0, "maximum": limits.k},
        "precision": {**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "coverage": {**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "tail": {"anyOf": [{**NUMBER, "minimum": 0, "maximum": 1}, {"const": "auto"}]},
        "probabilities": {"type": "boolean"},
        "ancestors": {"enum": list(get_args(Ancestors)), "description": "Of labels above others in a taxonomy."},
        "language": {**STRING, "description": "The language of the names, where labels have one there."},
        "allow": {**names, "description": "The only labels to rank, by name or URI."},
        "deny": {**names, "description": "Labels to leave out, by name or URI."},
        "given": {
            **_list(names, limits.texts),
            "description": "For each text the labels that it is known to have.",
        },
        "explain": {"type": "boolean", "description": f"For {limits.explained} labels at most."},
    }
    lists = {key: _list(label, limits.listed_labels) for key in ("accepted", "rejected", "added")}
    return {
        "Question": _object(question, ("texts",), closed=True),
        "Explain": _object({"text": STRING, "label": STRING, "model": model}, ("text", "label"), closed=True),
        "Feedback": _object(
            {"text": {"type": "string", "pattern": "\\S"}, **lists, "model": model}, ("text",), closed=True
        ),
    }


def _answers() -> dict[str, Schema]:
    integer: Schema = {"type": "integer"}
    name = {"id": integer, "label": STRING, "uri": STRING, "notation": STRING}
    scored = _object({**name, "score": NUMBER}, ("id", "label", "score"))
    label = _object({**name, "training_texts": {"type": ["integer", "null"]}}, ("id", "label"))
    beside = _object({**name, "texts": integer}, ("id", "label", "texts"))
    known = {"share": {"type": ["number", "null"]}, "together": {"type": ["array", "null"], "items": beside}}
    word = _object({"word": STRING, "start": integer, "end": integer, "contribution": NUMBER}, ("word",))
    result = {
        "labels": _list(scored),
        "evidence": _list(_object({"id": integer, "words": _list(word)}, ("id", "words"))),
    }
    neighbor = {
        "row": integer, "text": {"type": ["string", "null"]}, "similarity": NUMBER,
        "labels": {"type": ["array", "null"], "items": STRING}, "has_label": {"type": "boolean"},
    }  # fmt: skip
    explanation = {
        "model": STRING, "version": STRING, "label": _object(label["properties"] | known, ("id", "label")),
        "rank": {"type": ["integer", "null"]},
        "score": {"type": ["number", "null"]}, "score_type": STRING, "scale": STRING, "value": NUMBER,
        "base": NUMBER, "words": _list(word), "neighbors": _list(_object(neighbor, ())), "why_not": _list(STRING),
    }  # fmt: skip
    flags = {key: {"type": "boolean"} for key in ("calibrated", "explains", "completes", "feedback", "default")}
    model = {"name": STRING, "version": STRING, "recipe": STRING, "labels": integer, "score_type": STRING, **flags}
    answer = {
        "model": STRING,
        "version": STRING,
        "score_type": STRING,
        "results": _list(_object(result, ("labels",))),
    }
    return {
        "Answer": _object(answer, tuple(answer)),
        "Explanation": _object(explanation, ("model", "label", "words", "neighbors")),
        "Labels": _object({"labels": _list(label)}, ("labels",)),
        "Models": _object({"models": _list(_object(model, tuple(model)))}, ("models",)),
        "Stored": _object({"stored": {"type": "boolean"}, "labels": _list(STRING)}, ("stored",)),
        "Health": _object({"status": STRING}, ("status",)),
        "Ready": _object({"status": STRING, "models": {"type": "object"}}, ("status", "models")),
        "Error": _object({"error": _object({"type": STRING, "message": STRING}, ("type", "message"))}, ("error",)),
    }


def _search(limits: Limits) -> list[Schema]:
    values = {
        "q": {"type": "string", "maxLength": limits.query_chars},
        "limit": {"type": "integer", "minimum": 1, "maximum": limits.found, "default": FOUND},
        "model": STRING,
    }
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in values.items()]


def _get(summary: str, answer: str, parameters: list[Schema] | None = None) -> Schema:
    return {"summary": summary, "parameters": parameters or [], "responses": _responses("200", answer, GET_ERRORS)}


def _post(summary: str, body: str, answer: str, status: str = "200") -> Schema:
    content = {"required": True, "content": _json(body)}
    return {"summary": summary, "requestBody": content, "responses": _responses(status, answer, tuple(ERRORS))}


def _responses(status: str, answer: str, errors: tuple[str, ...]) -> Schema:
    found: Schema = {status: {"description": "The answer.", "content": _json(answer)}}
    return found | {code: {"description": ERRORS[code], "content": _json("Error")} for code in errors}


def _json(name: str) -> Schema:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _list(items: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


def _object(properties: Schema, required: tuple[str, ...], *, closed: bool = False) -> Schema:
    found = {"type": "object", "properties": properties, "required": list(required)}
    return found | ({"additionalProperties": False} if closed else {})
