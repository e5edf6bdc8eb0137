"""Which function answers a path: a table, and patterns for paths that hold a name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request

from megalabel.serving.refusal import Refusal
from megalabel.serving.service import Service

Answer = Callable[[Service, Request], Awaitable[Any]]  # a Response, or what becomes a JSON answer


@dataclass(frozen=True)
class Route:
    """What answers a path.

    Attributes:
        path: the path; a part in braces, such as {project}, stands for a name, a path parameter of the request.
        answer: the function.
        method: GET, which includes HEAD, or POST.
        status: of an answer that is no Response.
    """

    path: str
    answer: Answer
    method: str = "GET"
    status: int = 200

    @property
    def names(self) -> bool:
        """Whether the path holds a name."""
        return "{" in self.path


class Routes:
    """All routes; see `Route`."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._fixed = {route.path: route for route in routes if not route.names}
        self._patterns = [(route.path.split("/"), route) for route in routes if route.names]

    def find(self, path: str, method: str) -> tuple[Route, dict[str, str]]:
        """The route of a path, and the names in the path; Refusal with 404, or 405 for another method."""
        names: dict[str, str] = {}
        route = self._fixed.get(path)
        if route is None:
            route, names = self._match(path.split("/"))
        if method != route.method and (method, route.method) != ("HEAD", "GET"):
            allowed = "GET, HEAD" if route.method == "GET" else route.method
            raise Refusal(405, f"{path:.80} answers {allowed}, not {method:.20}", {"Allow": allowed})
        return route, names

    def _match(self, parts: list[str]) -> tuple[Route, dict[str, str]]:
        for pattern, route in self._patterns:
            if len(pattern) == len(parts) and all(
                a == b or a[:1] == "{" for a, b in zip(pattern, parts, strict=True)
            ):
                pairs = zip(pattern, parts, strict=True)
                return route, {a[1:-1]: unquote(b) for a, b in pairs if a[:1] == "{"}
        raise Refusal(404, f"nothing is at {'/'.join(parts):.80}; /openapi.json lists what there is")
