"""Skips tests of exports where the packages of the extra `onnx` are missing."""

import importlib.util

import pytest

INSTALLED = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript"))
needs_onnx = pytest.mark.skipif(not INSTALLED, reason="needs megalabel[onnx]")


def require() -> None:
    """Skips the test, or those that use the fixture, from which it is called."""
    if not INSTALLED:
        pytest.skip("needs megalabel[onnx]")
