"""The routes of the server as an ASGI application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from megalabel.serving import wire
from megalabel.serving.guard import Disconnected, Guard
from megalabel.serving.openapi import document
from megalabel.serving.question import Feedback, Question, explain_request
from megalabel.serving.refusal import Refusal, invalid
from megalabel.serving.service import Service

Answer = Callable[[Service, Request], Awaitable[Any]]
MOST_FOUND = 100  # labels of a search
# The page holds its script and style, and asks nobody but this server.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app(service: Service, origins: Sequence[str] = ()) -> ASGIApp:
    """The application that answers with the models of a service.

    origins: other web sites whose pages may ask it.
    """
    routes = [
        _route(service, "/v1/models", models),
        _route(service, "/v1/predict", predict, "POST"),
        _route(service, "/v1/explain", explain, "POST"),
        _route(service, "/v1/labels", labels),
        _route(service, "/v1/feedback", feedback, "POST", status=201),
        _route(service, "/openapi.json", openapi),
        _route(service, "/health", health),
        _route(service, "/ready", ready),
        Route("/", page),
        Route("/metrics", partial(metrics, service)),
    ]
    paths = frozenset(route.path for route in routes)
    guarded = Guard(Router(routes, redirect_slashes=False), service, paths)
    if not origins:
        return guarded
    headers = ["authorization", "content-type"]
    return CORSMiddleware(guarded, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=headers)


async def models(service: Service, request: Request) -> dict[str, Any]:
    """GET /v1/models: the models and what they can do."""
    return {"models": service.facts()}


async def predict(service: Service, request: Request) -> dict[str, Any]:
    """POST /v1/predict: the best labels of each text."""
    question = Question.read(await body_of(service, request), service.limits)
    request.state.facts = {"texts": len(question.texts), "model": question.model or service.default}
    return await service.predict(question, request.state.deadline)


async def explain(service: Service, request: Request) -> dict[str, Any]:
    """POST /v1/explain: why a text has a label."""
    text, label, model = explain_request(await body_of(service, request))
    return await service.explain(text, label, model, request.state.deadline)


async def labels(service: Service, request: Request) -> dict[str, Any]:
    """GET /v1/labels: the labels whose names have words that begin as typed."""
    query, limit = request.query_params.get("q", ""), request.query_params.get("limit", "20")
    if len(query) > service.limits.query_chars:
        raise invalid("q", query, f"a text of at most {service.limits.query_chars} characters")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST_FOUND):
        raise invalid("limit", limit, f"a whole number from 1 to {MOST_FOUND}")
    return await service.labels(query, int(limit), request.query_params.get("model"))


async def feedback(service: Service, request: Request) -> dict[str, Any]:
    """POST /v1/feedback: stores which labels of a text are right."""
    return await service.store(Feedback.read(await body_of(service, request), service.limits))


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


async def page(request: Request) -> Response:
    """GET /: the page for people."""
    html = (files("megalabel.serving") / "page.html").read_bytes()
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return Response(html, media_type="text/html", headers=headers)


async def metrics(service: Service, request: Request) -> Response:
    """GET /metrics: counters for Prometheus."""
    text, kind = await asyncio.to_thread(service.metrics.page)
    return Response(text, headers={"Content-Type": kind})


async def body_of(service: Service, request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request.

    Raises:
        Refusal: 415 for another content type, 413 and 408 for a body that is too large or does not arrive, 400 and
            422 for one that is no JSON object.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"the content type is {kind[:80] or 'missing'}; send application/json")
    most, size, parts = service.limits.body_bytes, 0, []
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:18]) > most:
        raise Refusal(413, f"the body has {length} bytes, more than {most:,}")
    try:
        async with asyncio.timeout(max(0.0, request.state.deadline - time.monotonic())):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise Refusal(413, f"the body has more than {most:,} bytes")
                parts.append(part)
    except TimeoutError:
        raise Refusal(408, "the body did not arrive in time") from None
    except ClientDisconnect:
        raise Disconnected from None
    return wire.json_object(b"".join(parts))


def _route(service: Service, path: str, answer: Answer, method: str = "GET", *, status: int = 200) -> Route:
    async def endpoint(request: Request) -> Response:
        found = await answer(service, request)
        return Response(wire.json_bytes(found), status_code=status, media_type="application/json")

    return Route(path, endpoint, methods=[method])
