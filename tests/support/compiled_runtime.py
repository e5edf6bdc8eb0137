"""The compiled operations of the runtime, built once per process from `_fast.c`."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

import megalabel.runtime.bag
import megalabel.runtime.heads
import megalabel.runtime.trees
from megalabel.runtime.plain import Plain

SOURCE = Path(megalabel.runtime.__file__).with_name("_fast.c")
USERS = (megalabel.runtime.bag, megalabel.runtime.heads, megalabel.runtime.trees)


@functools.cache
def compiled() -> ModuleType:
    """The module; skips where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform == "win32":
        pytest.skip("needs a C compiler")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "_fast.so"
        flags = ["-O1", "-Wall", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
        flags += ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        include = sysconfig.get_paths()["include"]
        subprocess.run([compiler, *flags, f"-I{include}", str(SOURCE), "-o", str(target), "-lm"], check=True)
        spec = importlib.util.spec_from_file_location("_fast", target)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def use(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Makes models that are loaded from now on use the "plain" or the "compiled" operations."""
    chosen = Plain if name == "plain" else compiled()
    for module in USERS:
        monkeypatch.setattr(module, "chosen", chosen)
