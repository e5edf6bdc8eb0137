"""The metrics of the server in the format of Prometheus, summed over its workers."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Any

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64)
WORDS = (8, 32, 128, 512, 2048, 8192, 32768)
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # the folder of the numbers of all workers, read by prometheus_client


def share_between_workers() -> tempfile.TemporaryDirectory[str] | None:
    """Lets the processes that are forked afterwards count together; None where no folder can be written.

    It has to be called before `Metrics`, since prometheus_client reads the folder when it is imported.
    """
    os.environ.pop(SHARED, None)
    with contextlib.suppress(OSError):
        folder = tempfile.TemporaryDirectory(prefix="megalabel-metrics-")
        os.environ[SHARED] = folder.name
        return folder
    return None


class Metrics:
    """Counters and histograms of one process, which several processes may share."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._own = own = CollectorRegistry()
        self.requests = Counter(
            "megalabel_requests",
            "Requests by path, method and status.",
            ("path", "method", "status"),
            registry=own,
        )
        self.seconds = Histogram(
            "megalabel_request_seconds",
            "Time from a request to its answer.",
            ("path",),
            buckets=SECONDS,
            registry=own,
        )
        self.texts = Counter("megalabel_texts", "Texts that were classified.", ("model",), registry=own)
        self.batch_texts = Histogram(
            "megalabel_batch_texts", "Texts per batch.", ("model",), buckets=TEXTS, registry=own
        )
        self.batch_words = Histogram(
            "megalabel_batch_words", "Words per batch.", ("model",), buckets=WORDS, registry=own
        )
        self.batch_seconds = Histogram(
            "megalabel_batch_seconds", "Time to compute a batch.", ("model",), buckets=SECONDS, registry=own
        )
        self.waiting = Gauge(
            "megalabel_waiting_texts", "Texts that wait for a model.", ("model",), registry=own,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.connections = Gauge(
            "megalabel_connections", "Open connections.", registry=own, multiprocess_mode="livesum"
        )
        self.refused_connections = Counter(
            "megalabel_refused_connections", "Connections that were refused or cut off.", ("reason",), registry=own
        )
        self.feedback = Counter(
            "megalabel_feedback", "Lines of feedback that were stored.", ("model",), registry=own
        )
        self.models = Gauge(
            "megalabel_model_info", "1 for each model that is served.", ("model", "version"), registry=own,
            multiprocess_mode="livemax",
        )  # fmt: skip

    def batch(self, model: str, texts: int, words: int, seconds: float, waiting: int) -> None:
        """Counts a batch, and says how many texts wait after it."""
        self.waiting.labels(model).set(waiting)
        self.texts.labels(model).inc(texts)
        self.batch_texts.labels(model).observe(texts)
        self.batch_words.labels(model).observe(words)
        self.batch_seconds.labels(model).observe(seconds)

    def page(self) -> tuple[bytes, str]:
        """The metrics of all workers as text, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry: Any = self._own
        if SHARED in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
