"""Clients of `megalabel serve` for benchmarks, which ask as fast as they are answered, or at a given rate.

A client has one request open at a time. At a rate, requests fall due at random moments (exponential pauses), and
the time of an answer counts from the moment at which its request was due, also where the client was busy then.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import numpy as np


@dataclass
class Outcome:
    """What clients saw.

    Attributes:
        seconds: of each answer.
        statuses: how many answers had each status.
        lost: what happened to requests without an answer.
        refused: connections that nobody accepted.
        length: seconds from the first request to the last answer.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    refused: int = 0
    length: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.seconds) / max(self.length, 1e-9)

    def add(self, other: Outcome) -> None:
        """Adds what other clients saw."""
        self.seconds += other.seconds
        self.statuses += other.statuses
        self.lost += other.lost
        self.refused += other.refused

    def milliseconds(self, percent: float) -> float:
        """A percentile of the times of answers."""
        return 1e3 * float(np.percentile(self.seconds or [np.nan], percent))


def predict_requests(texts: Sequence[str], k: int = 10) -> list[bytes]:
    """A request for each text."""
    return [request("POST", "/v1/predict", {"texts": [text], "k": k}) for text in texts]


def other_requests(texts: Sequence[str]) -> list[bytes]:
    """Requests to the other routes, and some that are refused; one for every twenty texts."""
    found = []
    for i, text in enumerate(texts[::20]):
        words = text.split() or ["a"]
        found += [
            request("GET", f"/v1/labels?q={quote(words[0][:10])}"),
            request("POST", "/v1/predict", {"texts": [text], "threshold": 0.1 + i % 7 / 10, "k": 1 + i % 50}),
            request("POST", "/v1/predict", {"texts": texts[i : i + 9], "k": 3}),
            (request("GET", "/metrics"), request("GET", "/"), request("GET", "/nothing"))[i % 3],
            request("POST", "/v1/predict", {"texts": [text], "k": "many"}),
        ]
    return found


def request(method: str, path: str, body: object = None) -> bytes:
    """The bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    return f"{head}\r\n\r\n".encode() + content


def ask(port: int, requests: Sequence[bytes], clients: int, seconds: float, rate: float | None = None, *,
        stop: threading.Event | None = None, most: int | None = None) -> Outcome:  # fmt: skip
    """Asks for some seconds, until `stop` is set, or until there are `most` answers.

    rate: requests per second of all clients together; None for as fast as they are answered.
    """

    async def asking() -> Outcome:
        outcome, begun = Outcome(), time.perf_counter()
        pause = 0.0 if rate is None else clients / rate

        def goes_on() -> bool:
            enough = most is not None and len(outcome.seconds) >= most
            return time.perf_counter() < begun + seconds and not enough and not (stop and stop.is_set())

        await asyncio.gather(*(_client(port, requests, goes_on, pause, i, outcome) for i in range(clients)))
        outcome.length = time.perf_counter() - begun
        return outcome

    return asyncio.run(asking())


def idle_connections(port: int, n: int, *, at_once: int = 5000, seconds: float = 2.0) -> Counter[str]:
    """Opens n connections, some thousands at a time, of which every second one sends half a request line.

    Returns how many were told 503, were closed otherwise, or stayed open for some seconds.
    """
    told: Counter[str] = Counter()

    async def one(i: int) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if i % 2:
                writer.write(b"GET /heal")
            try:
                answer = await asyncio.wait_for(reader.read(100), seconds)
                told["503" if b" 503 " in answer else "closed"] += 1
            except TimeoutError:
                told["stayed"] += 1
            writer.close()
        except OSError:
            told["reset"] += 1

    async def all_of_them() -> None:
        for first in range(0, n, at_once):
            await asyncio.gather(*(one(i) for i in range(first, min(first + at_once, n))))

    asyncio.run(all_of_them())
    return told


async def _client(
    port: int, requests: Sequence[bytes], goes_on: Callable[[], bool], pause: float, seed: int, outcome: Outcome
) -> None:
    draw = random.Random(seed)
    streams = None
    due = time.perf_counter() + draw.expovariate(1 / pause) if pause else 0.0
    while goes_on():
        if streams is None:
            try:
                streams = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                outcome.refused += 1
                return
        if pause:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            begun, due = due, due + draw.expovariate(1 / pause)
        else:
            begun = time.perf_counter()
        try:
            status, close = await _exchange(*streams, draw.choice(requests))
        except (OSError, EOFError) as error:
            outcome.lost.append(repr(error))
            streams = None
            continue
        outcome.statuses[status] += 1
        outcome.seconds.append(time.perf_counter() - begun)
        if close:
            streams[1].close()
            streams = None
    if streams is not None:
        streams[1].close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bool]:
    """Sends a request; returns the status of the answer, and whether the connection ends."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, rest = head.partition(b"content-length:")
    await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    return int(head[9:12]), b"connection: close" in head
