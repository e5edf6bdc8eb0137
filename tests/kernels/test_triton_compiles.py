"""The Triton kernels become machine code for an H100, where there is no GPU: Triton brings its own assembler."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here"),
]

INTEGERS = ("row_of_cell", "text_cells", "offsets", "positives", "table", "members")
NUMBERS = {"dim": "i32", "parts": "i32", "steps": "*i32"} | dict.fromkeys(INTEGERS, "*i64")
SCALARS = ("scale", "lr", "new_of_mean", "old_of_square", "new_of_square", "log_of_mean", "log_of_square", "eps")
NUMBERS |= dict.fromkeys((*SCALARS, "keep"), "fp32")  # what is named nowhere here is *fp32

TILE = {"HEIGHT": 4, "WIDTH": 256, "TOGETHER": 4}
PASS = {"HEIGHT": 2, "WIDTH": 1024, "PAIRS": 16, "HAS_BIAS": True}
NO_LOSS = dict.fromkeys(("offsets", "positives", "cells"))
NO_BIAS = dict.fromkeys(("bias", "bias_mean", "bias_square"))
CASES = {
    "loss": ("candidate_scores._pass", 1, PASS | {"LOSS": True, "WANTS_VIEWS": True}),
    "loss alone": ("candidate_scores._pass", 1, PASS | {"LOSS": True, "WANTS_VIEWS": False}),
    "narrow": ("candidate_scores._pass", 1, PASS | {"LOSS": True, "WANTS_VIEWS": True, "HEIGHT": 8, "WIDTH": 32}),
    "wide": ("candidate_scores._pass", 4, PASS | {"LOSS": True, "WANTS_VIEWS": True, "WIDTH": 4096}),
    "scores": ("candidate_scores._pass", 1, PASS | NO_LOSS | {"LOSS": False, "WANTS_VIEWS": False}),
    "adam": ("row_step._adam", 2, TILE | {"HAS_BIAS": True}),
    "adam without bias": ("row_step._adam", 2, TILE | NO_BIAS | {"HAS_BIAS": False}),
    "count": ("row_step._count", 1, {"HEIGHT": 4}),
    "sgd": ("row_step._sgd", 2, TILE | {"HAS_BIAS": True}),
    "sgd without bias": ("row_step._sgd", 2, TILE | {"bias": None, "HAS_BIAS": False}),
}


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    spawn, cache = multiprocessing.get_context("spawn"), tmp_path_factory.mktemp("triton")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_compile_into, initargs=(str(cache),)) as process:
        yield process


def _compile_into(cache: str) -> None:
    os.environ["TRITON_CACHE_DIR"] = cache
    os.environ.pop("TRITON_INTERPRET", None)


def _machine_code(kernel: str, warps: int, constants: dict[str, Any]) -> tuple[bytes, str]:
    """The program for compute capability 9.0, and its assembler text."""
    import triton
    from triton.backends.compiler import GPUTarget

    module, name = kernel.split(".")
    function = getattr(importlib.import_module(f"megalabel.kernels._triton.{module}"), name)
    names = function.arg_names
    types = {x: "constexpr" if x in constants else NUMBERS.get(x, "*fp32") for x in names}
    fixed = {(names.index(x),): value for x, value in constants.items() if x in names}
    aligned = [(i,) for i, x in enumerate(names) if types[x].startswith("*") or x == "dim"]
    source = triton.compiler.ASTSource(
        function, types, constexprs=fixed, attrs={i: [["tt.divisibility", 16]] for i in aligned}
    )
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    return made.asm["cubin"], made.asm["ptx"]


@pytest.mark.parametrize("case", CASES)
def test_compiles(compiler, case):
    code, text = compiler.submit(_machine_code, *CASES[case]).result(300)
    assert code.startswith(b"\x7fELF")
    assert ".target sm_90" in text
    assert "atom." not in text and "red.global" not in text  # sums are made in order
    if case != "count":
        assert "ld.global.v4" in text  # 16 bytes at a time
