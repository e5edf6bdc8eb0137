"""HTTP connections with bounds: their number, the size of the head of a request, and the time of each step.

Uvicorn's own protocol waits without end for the head of a request and for clients that do not read their answers.
Instead of timers for every request, all connections are looked at once a second.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from megalabel.serving.limits import Limits
from megalabel.serving.metrics import Metrics
from megalabel.serving.refusal import error_content
from megalabel.serving.wire import json_bytes


class Connection(HttpToolsProtocol):
    """A connection; `bounded` sets the limits."""

    limits: Limits
    metrics: Metrics

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False  # whether the head of a request has begun
        self._head_bytes = 0
        self.since = self.loop.time()  # when the connection began to be idle, or to do what it does
        self._unsent = 0  # bytes of answers that the client had not taken when last looked at
        self._stuck_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a connection, or refuses it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(503, "too many connections; try again later", "too many")

    def data_received(self, data: bytes) -> None:
        """Reads a piece of a request; a head that is too large is refused."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.header_bytes:
                most = self.limits.header_bytes
                self._refuse(431, f"the head of the request has more than {most:,} bytes", "large head")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head, self._head_bytes, self.since = True, 0, self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The end of the head of a request."""
        self._in_head, self.since = False, self.loop.time()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The end of an answer."""
        self.since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuses bytes that are not HTTP."""
        self._refuse(400, msg, "not HTTP")

    def look(self, now: float) -> None:
        """Ends the connection if what it does takes too long."""
        if self.transport.is_closing():
            if self._is_stuck(now):
                self.transport.abort()
            return
        waited = now - self.since
        busy = self.cycle is not None and not self.cycle.response_complete
        if self._is_stuck(now):
            self.metrics.refused_connections.labels("answer not read").inc()
            self.transport.abort()
        elif self._in_head:
            if waited > self.limits.header_seconds:
                self._refuse(408, "the head of the request did not arrive in time", "slow head")
        elif busy and self.cycle.more_body:
            if waited > self.limits.seconds:
                self.cycle.message_event.set()  # lets the request see that its time is over
        elif not busy and self.cycle is not None and self.cycle.more_body:
            if waited > self.limits.seconds:  # of a request that is answered already
                self._close("slow body")
        elif not busy and waited > (
            self.limits.header_seconds if self.cycle is None else self.limits.idle_seconds
        ):
            self._close("idle")

    @property
    def is_idle(self) -> bool:
        """Whether no request has begun that is not answered."""
        return not self._in_head and (self.cycle is None or self.cycle.response_complete)

    def _is_stuck(self, now: float) -> bool:
        """Whether the client has not taken a byte of an answer for long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._stuck_since = unsent, now
        return unsent > 0 and now - self._stuck_since > self.limits.seconds

    def _close(self, reason: str) -> None:
        self.metrics.refused_connections.labels(reason).inc()
        self.transport.close()

    def _refuse(self, status: int, message: str, reason: str) -> None:
        """Answers with an error and closes the connection, unless an answer is on its way."""
        if self.is_idle or self._in_head:
            body = json_bytes(error_content(status, message))
            lines = [
                b"content-type: application/json",
                b"content-length: " + str(len(body)).encode(),
                b"connection: close",
            ]
            self.transport.write(STATUS_LINE[status] + b"\r\n".join([*lines, b"", body]))
        self._close(reason)


def bounded(limits: Limits, metrics: Metrics) -> type[Connection]:
    """The class of connections within some limits."""
    return type("BoundedConnection", (Connection,), {"limits": limits, "metrics": metrics})
