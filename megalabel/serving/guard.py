"""The application itself: finds the route of a request, checks its token, answers, counts and logs."""

from __future__ import annotations

import hmac
import itertools
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from megalabel.errors import MegalabelError
from megalabel.serving.bodies import Disconnected
from megalabel.serving.refusal import Refusal, refusal_of
from megalabel.serving.routes import Routes
from megalabel.serving.service import Service
from megalabel.serving.wire import json_bytes

OPEN = ("/", "/health", "/ready", "/openapi.json")  # paths without a token
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")  # that are counted by themselves
SAFE = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
CLOSE = (b"connection", b"close")
GONE = 499  # the status in metrics and logs of a request whose client has gone


class Guard:
    """An ASGI application.

    Args:
        routes: what answers.
        service: models, tokens, limits, log and metrics.
    """

    def __init__(self, routes: Routes, service: Service) -> None:
        self.routes, self.service = routes, service
        self._prefix, self._numbers = secrets.token_hex(4), itertools.count(1)  # of the numbers of requests
        self._counted: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        begun, status, path = time.monotonic(), 0, "other"
        number = f"{self._prefix}{next(self._numbers):x}"
        state = scope.setdefault("state", {})
        state["deadline"], state["id"] = begun + self.service.limits.seconds, number

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], *SAFE, (b"x-request-id", number.encode())]
                if self.service.draining:
                    headers.append(CLOSE)
                message = {**message, "headers": headers}
            await send(message)

        try:
            self._check_token(scope)
            route, scope["path_params"] = self.routes.find(scope["path"], scope["method"])
            path = route.path
            found = await route.answer(self.service, Request(scope, receive))
            if not isinstance(found, Response):
                found = Response(json_bytes(found), route.status, media_type="application/json")
        except (Refusal, MegalabelError) as error:
            found = refused(error)
        except Disconnected:
            status, found = GONE, None
        except Exception as error:
            self.service.log.failure("request failed", error, id=number, path=scope["path"])
            found = refused(Refusal(500, f"an error of the server, number {number} in its log"))
        try:
            if found is not None:
                await found(scope, receive, sending)
        finally:
            self._count(scope, path, status, time.monotonic() - begun)

    def _check_token(self, scope: Scope) -> None:
        tokens = self.service.tokens
        if not tokens or scope["path"] in OPEN:
            return
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, token = sent.partition(b" ")
        known = [hmac.compare_digest(token.strip(), secret) for secret in tokens]
        if kind.lower() != b"bearer" or not any(known):
            raise Refusal(401, "a valid token is missing: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"})

    def _count(self, scope: Scope, path: str, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        key = path, method, status
        if key not in self._counted:
            metrics = self.service.metrics
            self._counted[key] = metrics.requests.labels(path, method, str(status)), metrics.seconds.labels(path)
        counter, histogram = self._counted[key]
        counter.inc()
        histogram.observe(seconds)
        if self.service.log.requests:
            facts: dict[str, Any] = {
                "id": scope["state"]["id"], "method": scope["method"], "path": scope["path"], "status": status,
                "ms": round(1e3 * seconds, 2), "client": (scope.get("client") or ("",))[0],
                **scope["state"].get("facts", {}),
            }  # fmt: skip
            self.service.log.event("request", **facts)


def refused(error: Refusal | MegalabelError) -> Response:
    """The answer that an error becomes."""
    refusal = error if isinstance(error, Refusal) else refusal_of(error)
    late = {"Connection": "close"} if refusal.status == 408 else {}  # the rest of the request may never come
    headers = refusal.headers | late
    return Response(json_bytes(refusal.content), refusal.status, headers, "application/json")


async def _lifespan(receive: Receive, send: Send) -> None:
    """Tells a server that asks that nothing has to be prepared, or ended."""
    for moment in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{moment}.complete"})
