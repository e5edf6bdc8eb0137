"""The routes of the server as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from megalabel.serving import annif
from megalabel.serving.bodies import deadline, object_of
from megalabel.serving.guard import Guard
from megalabel.serving.limits import FOUND
from megalabel.serving.openapi import document
from megalabel.serving.page import page_response
from megalabel.serving.question import Feedback, Question, explain_request
from megalabel.serving.refusal import Refusal, invalid
from megalabel.serving.routes import Route, Routes
from megalabel.serving.service import Service


def create_app(service: Service, origins: Sequence[str] = ()) -> ASGIApp:
    """The application that answers with the models of a service.

    origins: other web sites whose pages may ask it.
    """
    routes = [
        Route("/v1/models", models),
        Route("/v1/predict", predict, "POST"),
        Route("/v1/explain", explain, "POST"),
        Route("/v1/labels", labels),
        Route("/v1/feedback", feedback, "POST", 201),
        Route("/openapi.json", openapi),
        Route("/health", health),
        Route("/ready", ready),
        Route("/", page),
        Route("/metrics", metrics),
        *annif.routes(),
    ]
    guarded = Guard(Routes(routes), service)
    if not origins:
        return guarded
    headers = ["authorization", "content-type"]
    return CORSMiddleware(guarded, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=headers)


async def models(service: Service, request: Request) -> dict[str, Any]:
    """GET /v1/models: the models and what they can do."""
    return {"models": service.facts()}


async def predict(service: Service, request: Request) -> dict[str, Any]:
    """POST /v1/predict: the best labels of each text."""
    question = Question.read(await object_of(service, request), service.limits)
    request.scope["state"]["facts"] = {"texts": len(question.texts), "model": question.model or service.default}
    return await service.predict(question, deadline(request))


async def explain(service: Service, request: Request) -> dict[str, Any]:
    """POST /v1/explain: why a text has a label."""
    text, label, model = explain_request(await object_of(service, request))
    return await service.explain(text, label, model, deadline(request))


async def labels(service: Service, request: Request) -> dict[str, Any]:
    """GET /v1/labels: the labels whose names have words that begin as typed."""
    query, limit = request.query_params.get("q", ""), request.query_params.get("limit", str(FOUND))
    if len(query) > service.limits.query_chars:
        raise invalid("q", query, f"a text of at most {service.limits.query_chars} characters")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= service.limits.found):
        raise invalid("limit", limit, f"a whole number from 1 to {service.limits.found}")
    return await service.labels(query, int(limit), request.query_params.get("model"))


async def feedback(service: Service, request: Request) -> dict[str, Any]:
    """POST /v1/feedback: stores which labels of a text are right."""
    return await service.store(Feedback.read(await object_of(service, request), service.limits))


async def openapi(service: Service, request: Request) -> dict[str, Any]:
    """GET /openapi.json: what this is, for programs."""
    return document(service.limits, secured=bool(service.tokens))


async def health(service: Service, request: Request) -> dict[str, Any]:
    """GET /health: that the server runs."""
    return {"status": "ok"}


async def ready(service: Service, request: Request) -> dict[str, Any]:
    """GET /ready: that requests are answered; 503 while the server stops."""
    if service.draining:
        raise Refusal(503, "the server is stopping")
    return {"status": "ready", "models": {model.name: model.version for model in service.models.values()}}


async def page(service: Service, request: Request) -> Response:
    """GET /: the page for people."""
    return page_response()


async def metrics(service: Service, request: Request) -> Response:
    """GET /metrics: counters for Prometheus."""
    text, kind = await asyncio.to_thread(service.metrics.page)
    return Response(text, headers={"Content-Type": kind})
