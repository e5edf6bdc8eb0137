"""How bodies are compiled: with a disk cache that sees every change, and without one where there can be none."""

from __future__ import annotations

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.kernels.core._cpu import compiling
from megalabel.kernels.sparse._cpu import hits


def test_it_compiles_where_no_cache_can_be_written(monkeypatch) -> None:
    caching = pytest.importorskip("numba.core.caching")
    # What numba finds when neither the package's folder nor a home can be written.
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    body = runpy.run_path(str(hits.__file__))
    out = np.zeros((1, 1), dtype=bool)
    truth = sp.csr_matrix(np.eye(1))
    body["mark_hits"](np.zeros((1, 1), dtype=np.int64), truth.indptr, truth.indices, out)
    assert out.all()


def test_a_cache_that_cannot_be_saved_costs_nothing_but_the_cache(monkeypatch) -> None:
    calls = []

    def full_disk_once(value: int) -> None:
        calls.append(value)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")

    full_disk_once._cache = SimpleNamespace(_cache_file=SimpleNamespace(_source_stamp=0))  # type: ignore[attr-defined]
    monkeypatch.setattr(compiling.numba, "njit", lambda **_: lambda function: function)
    compiling.compiled(full_disk_once)(7)
    assert calls == [7, 7]


def test_the_disk_cache_looks_at_what_is_called_too(monkeypatch) -> None:
    stamps = []
    for source in ("old", "new"):
        monkeypatch.setattr(compiling, "_sources", lambda source=source: source)
        call = compiling.compiled(_nothing)
        (fast_body,) = (cell.cell_contents for cell in call.__closure__)
        stamps.append(fast_body._cache._cache_file._source_stamp)
    assert stamps[0] != stamps[1] and stamps[0][0] == stamps[1][0]


def test_a_numba_with_another_cache_compiles_all_the_same(monkeypatch) -> None:
    monkeypatch.setattr(compiling.numba, "njit", lambda **_: lambda function: function)
    assert compiling.compiled(_nothing) is _nothing


def _nothing() -> None:
    pass
