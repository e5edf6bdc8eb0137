"""The optional libraries of the export, imported where they are needed."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from megalabel.errors import MissingExtra

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def library(name: str) -> Any:
    """A library of the extra `onnx`; MissingExtra where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"the export to ONNX needs {name}",
            wanted=f"the packages {', '.join(NEEDED)}",
            next_step="run pip install 'megalabel[onnx]'",
        ) from error


def check_libraries() -> None:
    """Raises MissingExtra unless all libraries are installed."""
    for name in NEEDED:
        library(name)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings and log lines of the exporters, which are about their own code."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    before = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
