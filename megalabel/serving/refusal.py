"""`Refusal`, an answer with an error status, and the statuses of the errors of megalabel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megalabel.errors import DataError, MegalabelError, ResourceError, SettingError

TYPES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    431: "too_large",
    500: "internal",
    503: "unavailable",
}  # the `type` of an error by its HTTP status
SHOWN = 80  # characters of a wrong value in a message


class Refusal(Exception):
    """Ends a request with an error.

    Attributes:
        status: the HTTP status.
        message: a sentence for the client.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})

    @property
    def content(self) -> dict[str, Any]:
        """The body of the answer."""
        return error_content(self.status, self.message)


def error_content(status: int, message: str) -> dict[str, Any]:
    """The body of an answer with an error status."""
    return {"error": {"type": TYPES.get(status, "error"), "message": message}}


def invalid(where: str, found: object, wanted: str) -> Refusal:
    """The refusal of a value of a request."""
    shown = repr(found)[: SHOWN + 1]
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
    return Refusal(422, f"{where}: {shown} is not {wanted}")


def refusal_of(error: MegalabelError) -> Refusal:
    """The answer to a client for an error of the library."""
    theirs = isinstance(error, (SettingError, DataError)) and not isinstance(error, ResourceError)
    return Refusal(422 if theirs else 503, str(error))
