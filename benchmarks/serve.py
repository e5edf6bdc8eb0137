"""Measures `megalabel serve`: throughput and latency, memory of workers, and what gets lost when it changes or stops.

    python benchmarks/serve.py load RUN --data DATA [--workers 2] [--seconds 60]
    python benchmarks/serve.py stop RUN --data DATA [--tries 20]
    python benchmarks/serve.py swap RUN --data DATA [--tries 20]
    python benchmarks/serve.py memory RUN --data DATA
    python benchmarks/serve.py idle RUN --data DATA [--connections 100000]
    python benchmarks/serve.py soak RUN --data DATA [--requests 1000000]

Texts are test texts of the data set, four of five as they are, 15% five of them in a row and 5% thirty in a row.
"load" asks by 64 clients on the same machine, first as fast as answers come, then at a rate: five times what
one-by-one calls of the library reach, or --rate. The library is measured before and after the server, in a process
with the same two cores. "server CPU" is the time of all processes of the server per answer.
"""

from __future__ import annotations

import argparse
import random
import time

import psutil
from record import row
from serve_clients import Outcome, ask, predict_requests
from serve_process import Running

import megalabel

CLIENTS, TEXTS, K = 64, 4000, 10
WARM = 3.0  # seconds


def mixture(data: str, n: int = TEXTS) -> list[str]:
    """Texts of mixed lengths."""
    test = megalabel.Corpus.open(data).test.texts if "/" in data else megalabel.Corpus.bundled(data).test.texts
    texts, draw = list(test), random.Random(0)
    return [" ".join(draw.choices(texts, k=draw.choices([1, 5, 30], [80, 15, 5])[0])) for _ in range(n)]


def library(run: str, texts: list[str], seconds: float) -> tuple[float, float]:
    """Texts per second of one-by-one calls, and CPU milliseconds per text."""
    model, n = megalabel.load(run, mapped=True), 0
    for text in texts[:50]:
        model.predict([text], K)
    begun, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - begun < seconds:
        model.predict([texts[n % len(texts)]], K)
        n += 1
    return n / (time.perf_counter() - begun), 1e3 * (time.process_time() - cpu) / n


def load(given: argparse.Namespace) -> None:
    texts = mixture(given.data)
    requests = predict_requests(texts, K)
    alone = [library(given.run, texts, given.seconds / 4)]
    with Running(given.run, *given.options) as server:
        ask(server.port, requests, CLIENTS, WARM)
        cpu = server.cpu_seconds()
        fast = ask(server.port, requests, CLIENTS, given.seconds)
        cpu = server.cpu_seconds() - cpu
        alone.append(library(given.run, texts, given.seconds / 4))
        calls = sum(per_second for per_second, _ in alone) / 2
        rate = given.rate or 5 * calls
        paced = ask(server.port, requests, CLIENTS, given.seconds, rate)
    size = f"{given.name} clients={CLIENTS} {' '.join(given.options)}".strip()
    note(size, "library: texts per second", calls, "1/s")
    note(size, "library: CPU ms", sum(ms for _, ms in alone) / 2, "ms")
    note(size, "server: texts per second", fast.per_second, "1/s")
    note(size, "server: times the library", fast.per_second / calls, "x")
    note(size, "server: CPU ms", 1e3 * cpu / max(len(fast.seconds), 1), "ms")
    for name, outcome in (("as fast as possible", fast), ("at a rate", paced)):
        note(size, f"{name}: p50", outcome.milliseconds(50), "ms")
        note(size, f"{name}: p99", outcome.milliseconds(99), "ms")
        wrong = sum(outcome.statuses.values()) - outcome.statuses[200] + len(outcome.lost)
        note(size, f"{name}: other than 200", float(wrong), "")
    note(size, "at a rate: requests per second", rate, "1/s")


def note(size: str, metric: str, value: float, unit: str) -> None:
    print(f"{size}  {metric:40} {value:10.2f} {unit}", flush=True)
    row("serve", size, metric, value, unit)


def lost(outcome: Outcome) -> int:
    """Requests without an answer, and answers other than 200."""
    return len(outcome.lost) + sum(outcome.statuses.values()) - outcome.statuses[200]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["load", "stop", "swap", "memory", "idle", "soak"])
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", default="", help="of the model in the rows; default: the folder of the run")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float)
    given, given.options = parser.parse_known_args()
    given.name = given.name or given.run.rstrip("/").rpartition("/")[2]
    load(given)


if __name__ == "__main__":
    main()
