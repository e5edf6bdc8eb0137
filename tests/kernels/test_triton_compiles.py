"""The Triton kernels become machine code for an H100, where there is no GPU: Triton brings its own assembler."""

from __future__ import annotations

import importlib.util
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from support.triton_compiler import compile_into, machine_code

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here"),
]

TILE = {"HEIGHT": 4, "WIDTH": 256, "TOGETHER": 4}
PASS = {"HEIGHT": 2, "WIDTH": 1024, "PAIRS": 16, "HAS_BIAS": True}
NO_LOSS = dict.fromkeys(("offsets", "positives", "cells"))
NO_BIAS = dict.fromkeys(("bias", "bias_mean", "bias_square"))
CASES = {
    "loss": ("candidates.candidate_scores._pass", 1, PASS | {"LOSS": True, "WANTS_VIEWS": True}),
    "loss alone": ("candidates.candidate_scores._pass", 1, PASS | {"LOSS": True, "WANTS_VIEWS": False}),
    "narrow": (
        "candidates.candidate_scores._pass",
        1,
        PASS | {"LOSS": True, "WANTS_VIEWS": True, "HEIGHT": 8, "WIDTH": 32},
    ),
    "wide": ("candidates.candidate_scores._pass", 4, PASS | {"LOSS": True, "WANTS_VIEWS": True, "WIDTH": 4096}),
    "scores": ("candidates.candidate_scores._pass", 1, PASS | NO_LOSS | {"LOSS": False, "WANTS_VIEWS": False}),
    "adam": ("candidates.row_step._adam", 2, TILE | {"HAS_BIAS": True}),
    "adam without bias": ("candidates.row_step._adam", 2, TILE | NO_BIAS | {"HAS_BIAS": False}),
    "count": ("candidates.row_step._count", 1, {"HEIGHT": 4}),
    "sgd": ("candidates.row_step._sgd", 2, TILE | {"HAS_BIAS": True}),
    "sgd without bias": ("candidates.row_step._sgd", 2, TILE | {"bias": None, "HAS_BIAS": False}),
    "fan-in": ("fan_in.bodies.forward", 4, {"HEIGHT": 8, "WIDTH": 64, "TOGETHER": 8, "group": 1}),
    "fan-in of pairs": ("fan_in.bodies.forward", 4, {"HEIGHT": 8, "WIDTH": 64, "TOGETHER": 8}),
    "fan-in's gradient": ("fan_in.bodies.gradient", 1, {"CONNECTIONS": 16, "TEXTS": 64}),
    "densify": ("fan_in.bodies.densify", 4, {"LABELS": 128}),
    "sum of rows": ("fan_in.bodies.sum_rows", 4, {"HEIGHT": 16, "WIDTH": 64}),
}


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    spawn, cache = multiprocessing.get_context("spawn"), tmp_path_factory.mktemp("triton")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=compile_into, initargs=(str(cache),)) as process:
        yield process


@pytest.mark.parametrize("case", CASES)
def test_compiles(compiler, case):
    code, text = compiler.submit(machine_code, *CASES[case]).result(300)
    assert code.startswith(b"\x7fELF")
    assert ".target sm_90" in text
    assert "atom." not in text and "red.global" not in text  # sums are made in order
    if case not in ("count", "densify"):
        assert "ld.global.v4" in text  # 16 bytes at a time
