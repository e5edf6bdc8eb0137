"""Measures `megalabel serve`: throughput, latency, memory of workers, and what gets lost when it stops or changes.

    python benchmarks/serve.py load RUN --data DATA [--workers 2] [--seconds 60]
    python benchmarks/serve.py stop RUN --data DATA [--tries 20]
    python benchmarks/serve.py swap RUN --data DATA [--tries 20]
    python benchmarks/serve.py memory RUN --data DATA
    python benchmarks/serve.py idle RUN --data DATA [--connections 100000]
    python benchmarks/serve.py soak RUN --data DATA [--requests 1000000]

Texts are test texts of the data set: 90% as they are, 8% five of them in a row and 2% thirty in a row.
"load" asks by 64 clients on the same machine, first as fast as answers come, then at half of this rate and at 80%.
The library is measured before and after the server, in a process with the same cores, one text per call; also with
`Classifier.prepack`, which the server calls. "server CPU" is the time of all processes of the server per answer.

Where other jobs share the cores, --priority -10 gives all processes of the benchmark together more of them (on
Linux with autogroups; it takes root).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from record import row
from serve_clients import Outcome, ask, idle_connections, other_requests, predict_requests
from serve_process import Running

import megalabel
from megalabel.storage.files import atomic_folder

CLIENTS, TEXTS, K = 64, 4000, 10
SHARES = (0.5, 0.8)  # of the throughput, at which requests come
WARM = 3.0  # seconds
LOAD = ("library", "server", "as fast as possible", "at 50%", "at 80%")  # what the metrics of "load" begin with


def mixture(data: str, n: int = TEXTS) -> list[str]:
    """Texts of mixed lengths."""
    test = megalabel.Corpus.open(data).test.texts if "/" in data else megalabel.Corpus.bundled(data).test.texts
    texts, draw = list(test), random.Random(0)
    return [" ".join(draw.choices(texts, k=draw.choices([1, 5, 30], [90, 8, 2])[0])) for _ in range(n)]


def library(run: str, texts: list[str], seconds: float, *, prepacked: bool = False) -> tuple[float, float]:
    """Texts per second of one-by-one calls, and CPU milliseconds per text."""
    model, n = megalabel.load(run, mapped=True), 0
    if prepacked:
        model.prepack()
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
    prepacked = library(given.run, texts, given.seconds / 4, prepacked=True)
    with Running(given.run, *given.options) as server:
        ask(server.port, requests, CLIENTS, WARM)
        cpu = server.cpu_seconds()
        fast = ask(server.port, requests, CLIENTS, given.seconds)
        cpu = server.cpu_seconds() - cpu
        alone.append(library(given.run, texts, given.seconds / 4))
        calls = sum(per_second for per_second, _ in alone) / 2
        paced = [ask(server.port, requests, CLIENTS, given.seconds, share * fast.per_second) for share in SHARES]
    size = size_of(given)
    note(size, "library: texts per second", calls, "1/s")
    note(size, "library: CPU ms", sum(ms for _, ms in alone) / 2, "ms")
    note(size, "library: prepacked: texts per second", prepacked[0], "1/s")
    note(size, "server: texts per second", fast.per_second, "1/s")
    note(size, "server: times the library", fast.per_second / calls, "x")
    note(size, "server: CPU ms", 1e3 * cpu / max(len(fast.seconds), 1), "ms")
    names = "as fast as possible", *(f"at {share:.0%}" for share in SHARES)
    for name, outcome in zip(names, (fast, *paced), strict=True):
        note(size, f"{name}: p50", outcome.milliseconds(50), "ms")
        note(size, f"{name}: p99", outcome.milliseconds(99), "ms")
    note(size, "server: lost or other than 200", sum(map(lost, (fast, *paced))), "")
    note(size, "server: load average", os.getloadavg()[1], "")


def stop(given: argparse.Namespace) -> None:
    """Stops the server under load; counts the requests that were accepted and not answered."""
    requests, gone, answers = predict_requests(mixture(given.data), K), 0, 0
    for i in range(given.tries):
        with Running(given.run, *given.options) as server:
            timer = threading.Timer(2 + i % 5 / 5, server.process.terminate)
            timer.start()
            outcome = ask(server.port, requests, CLIENTS, 20)
        print(
            f"try {i + 1}: {dict(outcome.statuses)}, {outcome.refused} clients refused, lost {outcome.lost}",
            flush=True,
        )
        gone, answers = gone + lost(outcome), answers + len(outcome.seconds)
    size = size_of(given)
    note(size, "stop: tries", given.tries, "")
    note(size, "stop: answers", answers, "")
    note(size, "stop: lost requests", gone, "")


def swap(given: argparse.Namespace) -> None:
    """Replaces the model under load, by another version and back; counts lost requests."""
    requests = predict_requests(mixture(given.data), K)
    with tempfile.TemporaryDirectory() as folder:
        served = Path(folder, "run")
        versions = [Path(given.run, "model"), Path(folder, "other")]
        model = megalabel.load(given.run)
        model.rename_labels({0: f"{model.label_texts[0]} (new)"}).save(versions[1])
        shutil.copytree(versions[0], served)
        with Running(str(served), "--watch", "0.2", *given.options) as server:
            stopped = threading.Event()
            thread = threading.Thread(target=_swap, args=(server, versions, served, given.tries, stopped))
            thread.start()
            outcome = ask(server.port, requests, CLIENTS, 1e9, stop=stopped)
            thread.join()
    size = size_of(given)
    note(size, "swap: tries", given.tries, "")
    note(size, "swap: answers", len(outcome.seconds), "")
    note(size, "swap: lost requests", lost(outcome), "")
    note(size, "swap: p99", outcome.milliseconds(99), "ms")


def _swap(server: Running, versions: list[Path], place: Path, tries: int, stopped: threading.Event) -> None:
    try:
        for i in range(tries):
            with atomic_folder(place) as new:
                shutil.copytree(versions[(i + 1) % 2], new, dirs_exist_ok=True)
            print(server.wait_for("swapped", i + 1), flush=True)
    finally:
        stopped.set()


def memory(given: argparse.Namespace) -> None:
    """The memory of one and of four workers after the same requests."""
    requests, found = predict_requests(mixture(given.data), K), {}
    for workers in (1, 4):
        with Running(given.run, "--workers", str(workers), *given.options) as server:
            ask(server.port, requests, CLIENTS, given.seconds)
            found[workers] = server.megabytes()
        note(size_of(given), f"memory: {workers} workers", found[workers], "MB")
    note(size_of(given), "memory: 4 workers / 1", found[4] / found[1], "x")


def idle(given: argparse.Namespace) -> None:
    """Opens connections that send nothing or little, and asks by others meanwhile."""
    requests = predict_requests(mixture(given.data), K)
    with Running(given.run, *given.options) as server:
        told = Counter[str]()
        thread = threading.Thread(target=lambda: told.update(idle_connections(server.port, given.connections)))
        thread.start()
        time.sleep(1)
        outcome = Outcome()
        while thread.is_alive():
            outcome.add(ask(server.port, requests[:100], 1, 1, 20))
        thread.join()
        after = ask(server.port, requests, CLIENTS, 5)
        print(dict(told), dict(outcome.statuses), outcome.lost[:3], dict(after.statuses), after.lost[:3])
        size = size_of(given)
        note(size, "idle: connections", given.connections, "")
        note(size, "idle: told 503", told["503"], "")
        note(size, "idle: closed without a word", told["closed"] + told["reset"], "")
        note(size, "idle: lost or wrong afterwards", lost(after), "")
        note(size, "idle: memory afterwards", server.megabytes(), "MB")


def soak(given: argparse.Namespace) -> None:
    """Answers many requests of all kinds; the memory after each tenth of them."""
    texts = mixture(given.data)
    requests = predict_requests(texts, K) + other_requests(texts)
    with Running(given.run, "--log-requests", *given.options) as server:
        total, sizes, wrong = 0, [], 0
        while total < given.requests:
            outcome = ask(server.port, requests, CLIENTS, 1e9, most=given.requests // 10)
            failed = sum(n for status, n in outcome.statuses.items() if status >= 500)
            total, wrong = total + len(outcome.seconds), wrong + failed + len(outcome.lost)
            sizes.append(server.megabytes())
            print(
                f"{total:,} requests, {sizes[-1]:.1f} MB, {outcome.per_second:.0f}/s, {dict(outcome.statuses)}",
                flush=True,
            )
    size = size_of(given)
    note(size, "soak: requests", total, "")
    note(size, "soak: lost or failed", wrong, "")
    note(size, "soak: memory after a tenth", sizes[0], "MB")
    note(size, "soak: memory at the end", sizes[-1], "MB")


def size_of(given: argparse.Namespace) -> str:
    return f"{given.name} clients={CLIENTS} {' '.join(given.options)}".strip()


def note(size: str, metric: str, value: float, unit: str) -> None:
    print(f"{size}  {metric:40} {value:10.2f} {unit}", flush=True)
    row("serve" if metric.partition(":")[0] in LOAD else "serve_stress", size, metric, float(value), unit)


def lost(outcome: Outcome) -> int:
    """Requests without an answer, and answers other than 200."""
    return len(outcome.lost) + sum(outcome.statuses.values()) - outcome.statuses[200]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measures = {function.__name__: function for function in (load, stop, swap, memory, idle, soak)}
    parser.add_argument("what", choices=list(measures))
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", default="", help="of the model in the rows; default: the folder of the run")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--priority", type=int, help="of the session of this process, from -20 to 19")
    given, given.options = parser.parse_known_args()
    if given.priority is not None:
        Path("/proc/self/autogroup").write_text(str(given.priority))
    given.name = given.name or Path(given.run).name
    measures[given.what](given)


if __name__ == "__main__":
    main()
