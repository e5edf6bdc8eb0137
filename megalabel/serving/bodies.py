"""Reads the bodies of requests, within their limits of size and time."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request

from megalabel.serving import wire
from megalabel.serving.refusal import Refusal
from megalabel.serving.service import Service

JSON, FORM = "application/json", "application/x-www-form-urlencoded"


class Disconnected(Exception):
    """The client has gone; nobody reads an answer."""


def deadline(request: Request) -> float:
    """When the answer has to be there, as `time.monotonic` counts."""
    found: float = request.scope["state"]["deadline"]
    return found


async def object_of(service: Service, request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request.

    Raises:
        Refusal: as `bytes_of`; 400 and 422 for a body that is no JSON object.
    """
    return wire.json_object(await bytes_of(service, request, JSON))


async def bytes_of(service: Service, request: Request, kind: str) -> bytes:
    """The body of a request.

    Raises:
        Refusal: 415 for another content type than `kind`, 413 for a body that is too large, and 408 for one that
            does not arrive in time.
        Disconnected: the client has gone.
    """
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != kind:
        raise Refusal(415, f"the content type is {found[:80] or 'missing'}; send {kind}")
    most, size, parts, more = service.limits.body_bytes, 0, [], True
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:18]) > most:
        raise Refusal(413, f"the body has {length[:18]} bytes, more than {most:,}")
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > most:
            raise Refusal(413, f"the body has more than {most:,} bytes")
        if more and time.monotonic() > deadline(request):  # `Connection.look` wakes a request that waits
            raise Refusal(408, "the body did not arrive in time")
    return b"".join(parts)
