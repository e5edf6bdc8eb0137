"""What the server takes from a client, and how long it works for one."""

from __future__ import annotations

from dataclasses import dataclass

FOUND = 20  # labels that a search finds where the client does not say how many


@dataclass(frozen=True)
class Limits:
    """Bounds of requests; what exceeds them is refused with the HTTP status in parentheses.

    Attributes:
        body_bytes: the size of the body of a request (413).
        texts: texts per request (422).
        k: labels per text (422).
        listed_labels: labels in the lists `allow`, `deny` and `given` together (422).
        query_chars: characters of a search for labels (422).
        found: labels that a search finds (422).
        explained: labels that are explained in one answer (422).
        seconds: from the first byte of a request to its answer (408).
        header_seconds: until the head of a request is complete (408).
        header_bytes: the size of that head (431).
        idle_seconds: after which an unused connection is closed.
        waiting_texts: texts of all requests that wait for a model (429).
        connections: open connections of a worker; further ones are answered 503 and closed.
    """

    body_bytes: int = 1 << 20
    texts: int = 256
    k: int = 1000
    listed_labels: int = 10_000
    query_chars: int = 200
    found: int = 100
    explained: int = 10
    seconds: float = 30.0
    header_seconds: float = 10.0
    header_bytes: int = 1 << 15
    idle_seconds: float = 60.0
    waiting_texts: int = 2048
    connections: int = 1000
