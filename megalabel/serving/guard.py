"""The outermost layer of the server: tokens, error answers, headers, metrics and the log of requests."""

from __future__ import annotations

import hmac
import time
import uuid
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from megalabel.errors import MegalabelError
from megalabel.serving.refusal import Refusal, error_content, refusal_of
from megalabel.serving.service import Service
from megalabel.serving.wire import json_bytes

OPEN = ("/", "/health", "/ready", "/openapi.json")  # paths without a token
SAFE = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
CLOSE = (b"connection", b"close")


class Disconnected(Exception):
    """The client has gone; nobody reads an answer."""


class Guard:
    """An ASGI application around another one.

    Args:
        app: the application, whose errors become answers.
        service: tokens, limits, log and metrics.
        paths: the paths that are counted by themselves; others count as "other".
    """

    def __init__(self, app: ASGIApp, service: Service, paths: frozenset[str]) -> None:
        self.app, self.service, self.paths = app, service, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0
        scope["app"] = self  # lets Starlette's router raise what it would answer in its own form
        state = scope.setdefault("state", {})
        state["deadline"] = begun + self.service.limits.seconds
        state["id"] = uuid.uuid4().hex[:16]

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), *SAFE, (b"x-request-id", state["id"].encode())]
                if self.service.draining:
                    headers.append(CLOSE)
                message = {**message, "headers": headers}
            await send(message)

        try:
            try:
                self._check_token(scope)
                await self.app(scope, receive, sending)
            except (Refusal, MegalabelError, HTTPException) as error:
                await self._refuse(error, status, sending)
        except Disconnected:
            status = 499
        except Exception as error:
            self.service.log.failure("request failed", error, id=state["id"], path=scope["path"])
            await self._refuse(
                Refusal(500, f"an error of the server, number {state['id']} in its log"), status, sending
            )
        finally:
            self._count(scope, status, time.monotonic() - begun)

    def _check_token(self, scope: Scope) -> None:
        tokens = self.service.tokens
        if not tokens or scope["path"] in OPEN:
            return
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, token = sent.partition(b" ")
        known = [hmac.compare_digest(token.strip(), secret) for secret in tokens]
        if kind.lower() != b"bearer" or not any(known):
            raise Refusal(401, "a valid token is missing: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"})

    async def _refuse(self, error: Refusal | MegalabelError | HTTPException, status: int, send: Send) -> None:
        """Answers with an error, unless the answer has begun."""
        if status:
            return
        if isinstance(error, HTTPException):
            error = Refusal(error.status_code, error.detail, error.headers)
        elif isinstance(error, MegalabelError):
            error = refusal_of(error)
        body = json_bytes(error_content(error.status, error.message))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        if error.status == 408:  # the rest of the body may never come
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self.paths else "other"
        self.service.metrics.requests.labels(path, _method(scope), str(status)).inc()
        self.service.metrics.seconds.labels(path).observe(seconds)
        if self.service.log.requests:
            facts: dict[str, Any] = {
                "id": scope["state"]["id"], "method": scope["method"], "path": scope["path"], "status": status,
                "ms": round(1e3 * seconds, 2), "client": (scope.get("client") or ("",))[0],
                **scope["state"].get("facts", {}),
            }  # fmt: skip
            self.service.log.event("request", **facts)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in ("GET", "POST", "HEAD") else "other"
