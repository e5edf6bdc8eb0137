"""Clients of `megalabel serve` for benchmarks: connections that ask as fast as they are answered, or at a given rate.

A client has one request open at a time. At a rate, requests fall due at random moments (exponential pauses), and the
time of an answer counts from the moment at which its request was due, also where the client was still busy then.
"""

from __future__ import annotations

import asyncio
import collections
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    lost: list[str] = field(default_factory=list)
    refused: int = 0
    length: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.seconds) / max(self.length, 1e-9)

    def milliseconds(self, percent: float) -> float:
        """A percentile of the times of answers."""
        return 1e3 * float(np.percentile(self.seconds or [np.nan], percent))


def predict_requests(texts: Sequence[str], k: int = 10) -> list[bytes]:
    """A request for each text."""
    found = []
    for text in texts:
        body = json.dumps({"texts": [text], "k": k}).encode()
        head = f"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        found.append(f"{head}\r\n\r\n".encode() + body)
    return found


def ask(port: int, requests: Sequence[bytes], clients: int, seconds: float, rate: float | None = None) -> Outcome:
    """Asks for some seconds; `rate` is that of all clients together, None for as fast as they are answered."""
    return asyncio.run(asking(port, requests, clients, seconds, rate))


async def asking(
    port: int, requests: Sequence[bytes], clients: int, seconds: float, rate: float | None = None
) -> Outcome:
    """As `ask`, within a loop that does other things too."""
    outcome, begun = Outcome(), time.perf_counter()
    pause = 0.0 if rate is None else clients / rate
    await asyncio.gather(*(_client(port, requests, begun + seconds, pause, i, outcome) for i in range(clients)))
    outcome.length = time.perf_counter() - begun
    return outcome


async def _client(
    port: int, requests: Sequence[bytes], until: float, pause: float, seed: int, outcome: Outcome
) -> None:
    draw = random.Random(seed)
    streams = None
    due = time.perf_counter() + draw.expovariate(1 / pause) if pause else 0.0
    while time.perf_counter() < until:
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


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bool]:
    """Sends a request; returns the status of the answer, and whether the connection ends."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, rest = head.partition(b"content-length:")
    await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    return int(head[9:12]), b"connection: close" in head
