"""Counts lines during the core tests alone (`make coverage`), since it adds a quarter to their time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = frozenset(ROOT / line for line in (ROOT / "tests/core.txt").read_text(encoding="utf-8").split())


@contextlib.contextmanager
def counted_if_core(item: pytest.Item) -> Iterator[None]:
    """Counts no lines from the set-up of a test to its teardown unless its file is in tests/core.txt."""
    counter = getattr(item.config.pluginmanager.getplugin("_cov"), "cov_controller", None)
    if counter is None or item.path in CORE:
        yield
        return
    counter.pause()
    try:
        yield
    finally:
        counter.resume()
