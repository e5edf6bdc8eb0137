"""How bodies are compiled: with a disk cache that sees every change, and without one where there can be none."""

from __future__ import annotations

import importlib.util
import runpy
import subprocess
import sys
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

    file = SimpleNamespace(_source_stamp=0)
    full_disk_once._cache = SimpleNamespace(_cache_file=file)  # type: ignore[attr-defined]
    monkeypatch.setattr(compiling.numba, "njit", lambda **_: lambda function: function)
    compiling.compiled(full_disk_once)(7)
    assert calls == [7, 7]


def test_a_cache_that_names_types_of_another_version_is_made_anew(tmp_path) -> None:
    source = """
from typing import NamedTuple
import numpy as np
from megalabel.kernels.core._cpu.compiling import compiled

class {name}(NamedTuple):
    out: np.ndarray

@compiled
def add(pair):
    pair.out[0] += 1
"""
    file, found = tmp_path / "versions.py", []
    for name in ("Older", "Newer"):
        file.write_text(source.format(name=name))
        module = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("versions", file))
        sys.modules["versions"] = module
        try:
            spec.loader.exec_module(module)
            out = np.zeros(1)
            module.add(getattr(module, name)(out))
            found.append(out[0])
        finally:
            del sys.modules["versions"]
    assert found == [1, 1]
    assert list(tmp_path.glob("__pycache__/*.nbi"))


# Prints what a compiled function takes from a helper of another file.
CALLER = """
from pathlib import Path
import sys
import numpy as np
from megalabel.kernels.core._cpu import compiling
compiling.KERNELS = Path(__file__).parent
sys.path.insert(0, str(compiling.KERNELS / "family" / "_cpu"))
from helper import number

def write(out):
    out[0] = number()

out = np.zeros(1)
compiling.compiled(write)(out)
print(int(out[0]))
"""
HELPER = "import numba\n@numba.njit\ndef number():\n    return {}\n"


COUNTED = """
import numpy as np
from megalabel.kernels.core._cpu.compiling import compiled

@compiled
def add(out, n):
    for i in range(len(out)):
        out[i] += n
"""
DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "garbage": lambda content: bytes(range(256)) * 9,
    "one bit": lambda content: content[:-9] + bytes([content[-9] ^ 4]) + content[-8:],
    "another pickle": lambda content: __import__("pickle").dumps(("0", {})),
    "one more byte": lambda content: content + b"x",
}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_cache_is_rebuilt(kind, suffix, tmp_path) -> None:
    file = tmp_path / "counted.py"
    file.write_text(COUNTED)

    def run() -> tuple[float, bytes]:
        module = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("counted", file))
        spec.loader.exec_module(module)
        out = np.zeros(3)
        module.add(out, 7)
        (cached,) = tmp_path.glob(f"__pycache__/*.{suffix}")
        return out.sum(), cached.read_bytes()

    expected, whole = run()
    (cached,) = tmp_path.glob(f"__pycache__/*.{suffix}")
    cached.write_bytes(DAMAGE[kind](whole))
    found, rebuilt = run()
    assert found == expected == 21
    assert len(rebuilt) > 32 and rebuilt != DAMAGE[kind](whole)
    assert run()[0] == 21


@pytest.mark.slow
def test_the_disk_cache_looks_at_what_is_called_too(tmp_path) -> None:
    """If this fails with a new numba, `compiled` has to find another way, or do without the disk cache."""
    folder = tmp_path / "family" / "_cpu"
    folder.mkdir(parents=True)
    (tmp_path / "caller.py").write_text(CALLER)

    def run(answer: int) -> str:
        (folder / "helper.py").write_text(HELPER.format(answer))
        found = subprocess.run(
            [sys.executable, str(tmp_path / "caller.py")], capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    assert run(1) == "1"
    assert run(1) == "1"
    assert list((tmp_path / "__pycache__").glob("*.nbc"))  # something was cached
    assert run(2) == "2"


def test_a_numba_with_another_cache_compiles_all_the_same(monkeypatch) -> None:
    monkeypatch.setattr(compiling.numba, "njit", lambda **_: lambda function: function)
    assert compiling.compiled(_nothing) is _nothing


def _nothing() -> None:
    pass
