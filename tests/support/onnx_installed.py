"""Skips tests of exports where the packages of the extra `onnx` are missing, or an older PyTorch than it needs."""

import importlib.util
from importlib.metadata import version

import pytest

INSTALLED = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript"))
RECENT = tuple(int(part) for part in version("torch").split(".")[:2]) >= (2, 13)
needs_export = pytest.mark.skipif(not (INSTALLED and RECENT), reason="needs megalabel[onnx]")


def require(*, recent_torch: bool = True) -> None:
    """Skips the test, or those that use the fixture, from which it is called."""
    if not INSTALLED or (recent_torch and not RECENT):
        pytest.skip("needs megalabel[onnx]")
