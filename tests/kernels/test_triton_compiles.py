"""The Triton kernels become machine code for an H100 or A100 without a GPU: Triton brings its own assembler."""

from __future__ import annotations

import importlib.util
import multiprocessing
import re
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

TYPES = {32: "*fp32", 16: "*i16", 8: "*u8"}  # of weights and momentum, by their bits
LABELS = {"HEIGHT": 64, "WIDTH": 128}
STEP = {"HEIGHT": 128, "WIDTH": 64}
LOSS = {"BCE": True, "HAS_BIAS": True, "WEIGHTED": True, "VALUE": False, "sums": None}
VALUE = {"BCE": False, "HAS_BIAS": False, "WEIGHTED": False, "VALUE": True, "bias": None, "text_weights": None}
TOPK = {"HAS_BIAS": True, "PERMUTED": False, "EXCLUDES": True, "MOST": 8, "row_to_label": None}
ALL_LABELS = {  # kernel, constants, bits of the weights, compute capability
    "slopes": ("slopes._slopes", LABELS | LOSS, 8, 90),
    "losses": ("slopes._slopes", LABELS | VALUE | {"out": None}, 32, 80),
    "embedding": ("slopes._add_to_embedding", LABELS, 16, 90),
    "embedding of float8": ("slopes._add_to_embedding", LABELS, 8, 80),
    "sgd of float8": ("sgd_step._sgd", STEP | {"BUFFER": 16, "LAST": True}, 8, 80),
    "sgd of bfloat16": ("sgd_step._sgd", STEP | {"BUFFER": 0, "LAST": True, "buffer": None}, 16, 90),
    "adam of the dense head": ("adam_step._adam", STEP, 32, 90),
    "adam in bfloat16": ("adam_step._adam", STEP, 16, 80),
    "top k": ("streaming_topk._best", {"HEIGHT": 64, "WIDTH": 64} | TOPK, 32, 90),
    "top k of float8": ("streaming_topk._best", {"HEIGHT": 64, "WIDTH": 64} | TOPK, 8, 80),
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


@pytest.mark.parametrize("case", ALL_LABELS)
def test_passes_over_all_labels_compile(compiler, case):
    """Embeddings are bfloat16, or float32 beside float32 weights and in the top k."""
    kernel, constants, bits, capability = ALL_LABELS[case]
    wide = bits == 32 or "topk" in kernel
    depth = 32 if wide else 64
    constants = constants | {"BITS": bits, "WIDE": wide, "PRECISION": "tf32x3", "STEP": depth, "TEXTS": depth}
    if bits != 8:
        constants["exponents"] = None
    types = dict.fromkeys(("x", "dz"), "*fp32" if wide else "*bf16")
    types["out"] = "*i64" if "topk" in kernel else types["x"]
    types["weight"] = "*fp32" if "adam" in kernel else TYPES[bits]
    types["buffer"] = TYPES.get(constants.get("BUFFER"), "*fp32")
    submitted = compiler.submit(machine_code, f"all_labels.{kernel}", 8, constants, types, capability)
    code, text = submitted.result(300)
    assert code.startswith(b"\x7fELF")
    assert f".target sm_{capability}" in text
    assert not re.search(r"\b(atom|red)\.", text)  # sums are made in order
    assert "cp.async" in text  # 16 bytes at a time, while the tile before is multiplied
    assert "mma" in text  # on the tensor cores
