"""Machine code of compiled functions contains its helpers, and is the same whether it was compiled or cached."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest

from megalabel.kernels.core._cpu.private_helpers import compiler

SHARED = re.compile(r"^define linkonce_odr .*", re.MULTILINE)


@numba.njit
def many_steps(values):
    """Too long to be inlined."""
    total = 0.0
    for i in range(len(values)):
        if values[i] < 0:
            total += np.exp(values[i])
        elif values[i] < 1:
            total -= np.log(values[i])
        else:
            total *= np.sqrt(values[i]) + np.sin(values[i])
    return total


def twice(values, out):
    out[0] = many_steps(values)
    out[1] = many_steps(values[1:])


def test_no_helper_can_be_taken_from_elsewhere():
    shared = {}
    for name, options in (("usual", {}), ("private", {"pipeline_class": compiler()})):
        function, out = numba.njit(**options)(twice), np.zeros(2)
        function(np.array([-1.0, 0.5, 2.0]), out)
        assert np.isfinite(out).all() and out.all()
        (overload,) = function.overloads.values()
        shared[name] = SHARED.findall(overload.library.get_llvm_str())
    assert shared["usual"], "numba no longer shares helpers: the compiler of megalabel may go"
    assert not shared["private"]


PROGRAM = """
import numpy as np, torch
from support.candidate_cases import case
from support.row_step_cases import gradient_of
from megalabel.kernels.candidates.row_adagrad import adagrad_state, row_adagrad

for dim in (7, 16):  # where the copy of a helper once differed
    c = case(5, dim=dim, batch=30, nodes=50)
    _, weight, bias = c.of(torch.float32)
    state = adagrad_state(weight, bias)
    for _ in range(3):
        row_adagrad(weight, bias, state, [gradient_of(c)], 0.05, 1e-2, 0.1)
    print(weight.numpy().tobytes().hex())
"""


@pytest.mark.slow
def test_compiled_and_cached_code_have_the_same_bits(tmp_path):
    paths = [path for path in sys.path if path]
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)}
    compiled, cached = (
        subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbc"))
    assert compiled == cached and len(compiled) > 1000
