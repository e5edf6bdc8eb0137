"""Annif's REST paths below /annif: projects are models, and subjects their labels.

So clients of Annif can ask megalabel, and an Annif project with the backend `http` gets its subjects from
`/annif/v1/projects/{project}/suggest`. The URI of a subject is that of the label if the model knows it, else the
name of the label.
"""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from megalabel.models.asking import Asked
from megalabel.serving import wire
from megalabel.serving.bodies import FORM, bytes_of, deadline, object_of
from megalabel.serving.question import Question
from megalabel.serving.refusal import Refusal, invalid
from megalabel.serving.routes import Route
from megalabel.serving.served import ServedModel
from megalabel.serving.service import Service
from megalabel.version import __version__

LIMIT = 10  # subjects per text, as Annif's default
FIELDS = 100  # of a form, with those that describe the document
BATCH = 32  # texts of a batch, as in Annif


def routes() -> list[Route]:
    """The routes."""
    project = "/annif/v1/projects/{project}"
    return [
        Route("/annif/v1/", about),
        Route("/annif/v1/projects", projects),
        Route(project, one_project),
        Route(f"{project}/suggest", suggest, "POST"),
        Route(f"{project}/suggest-batch", suggest_batch, "POST"),
    ]


async def about(service: Service, request: Request) -> dict[str, Any]:
    """GET /annif/v1/: what answers."""
    return {"title": "megalabel", "version": __version__}


async def projects(service: Service, request: Request) -> dict[str, Any]:
    """GET /annif/v1/projects: the models."""
    return {"projects": [_project(model) for model in service.models.values()]}


async def one_project(service: Service, request: Request) -> dict[str, Any]:
    """GET /annif/v1/projects/{project}: a model."""
    return _project(service.model(request.path_params["project"]))


async def suggest(service: Service, request: Request) -> dict[str, Any]:
    """POST /annif/v1/projects/{project}/suggest: the subjects of the text in a form."""
    form = _form(await bytes_of(service, request, FORM))
    (results,) = await _suggestions(service, request, [form.get("text", "")], form)
    return {"results": results}


async def suggest_batch(service: Service, request: Request) -> list[dict[str, Any]]:
    """POST /annif/v1/projects/{project}/suggest-batch: the subjects of several texts."""
    body = wire.checked(await object_of(service, request), {"documents": _documents}, ("documents",))
    asked = dict(request.query_params)
    results = await _suggestions(service, request, [text for text, _ in body["documents"]], asked)
    pairs = zip(body["documents"], results, strict=True)
    return [{"document_id": number, "results": found} for (_, number), found in pairs]


async def _suggestions(
    service: Service, request: Request, texts: list[str], values: dict[str, str]
) -> list[list[dict[str, Any]]]:
    """For each text its subjects with scores above 0, as Annif writes them."""
    limit = int(_number(values, "limit", LIMIT, 0, service.limits.k))
    threshold = _number(values, "threshold", 0.0, 0, 1)
    model = service.model(request.path_params["project"])
    # Annif's scores are from 0 to 1: logits below 0 would be left out, and those above 1 counted as 1.
    asked = Asked(max(limit, 1), threshold=threshold or None, probabilities=model.gives_log_odds or None)
    question = Question(texts, asked, model.name)
    answer = await service.predict(question, deadline(request))
    return [
        [_subject(label) for label in result["labels"][:limit] if label["score"] > 0]
        for result in answer["results"]
    ]


def _subject(label: dict[str, Any]) -> dict[str, Any]:
    name, uri, notation = label["label"], label.get("uri"), label.get("notation")
    return {"uri": uri or name, "label": name, "notation": notation, "score": label["score"]}


def _project(model: ServedModel) -> dict[str, Any]:
    return {
        "project_id": model.name,
        "name": model.name,
        "language": "und",
        "backend": {"backend_id": model.recipe or "megalabel"},
        "is_trained": True,
        "modification_time": None,
    }


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS, errors="strict"))
    except ValueError as error:
        raise Refusal(400, f"the body is not a form in UTF-8: {error!s:.200}") from None


def _number(values: dict[str, str], key: str, default: float, low: float, high: float) -> float:
    found = values.get(key, "")
    if not found:
        return default
    try:
        number = float(found)
    except ValueError:
        number = math.nan
    if not low <= number <= high or (key == "limit" and number != int(number)):
        raise invalid(key, found, f"a number from {low:g} to {high:g}")
    return number


def _documents(key: str, found: Any) -> list[tuple[str, str | None]]:
    """Texts and their numbers, at most as many as Annif takes."""
    if not isinstance(found, list) or len(found) > BATCH:
        raise invalid(key, found, f"a list of at most {BATCH} documents")
    checks = {"text": wire.text, "document_id": wire.text, "metadata": lambda _, value: value}
    documents = []
    for i, document in enumerate(found):
        if not isinstance(document, dict):
            raise invalid(f"{key}[{i}]", document, "an object with a text")
        values = wire.checked(document, checks, ("text",))
        documents.append((values["text"], values.get("document_id")))
    return documents
