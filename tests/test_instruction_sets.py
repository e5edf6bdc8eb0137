"""The tests of rankings, losses and kernels hold under the code that other processors would run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
X86 = platform.machine().lower() in ("x86_64", "amd64")
SETTINGS = {
    "libraries of products": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",  # on AMD, MKL_ENABLE_INSTRUCTIONS changes nothing
        "DNNL_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
    "numba": {"NUMBA_CPU_NAME": "generic"},
}
CASES = [
    "heads/test_partitioned.py::test_topk_is_that_of_one_head",
    "heads/test_partitioned.py::test_loss_and_gradients_are_those_of_one_head",
    "heads/test_dense.py::test_topk_is_the_dense_answer",
    "heads/test_sparse.py::test_topk_is_that_of_the_dense_layer",
    "encoders/test_bag.py",
    "kernels/all_labels/test_all_labels_loss.py::test_narrow_products_err_no_more_than_plain_ones",
    "kernels/linear/test_sparse_beam.py::test_bits_depend_on_no_other_text",
    "test_ensemble.py::test_what_may_not_be_answered_is_not_in_any_block",
]


def run(*options: str, **environment: str) -> None:
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    path = os.pathsep.join([str(HERE.parent), str(HERE)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "not slow", "-p", "no:cacheprovider", "--tb=short", *options]
        + [str(HERE / case) for case in CASES],
        cwd=HERE.parent,
        env=outer | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{environment or options}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.skipif(not X86, reason=f"the settings name instruction sets of x86, and this is {platform.machine()}")
@pytest.mark.parametrize("library", SETTINGS)
def test_under_other_instructions(library):
    run(**SETTINGS[library])


@pytest.mark.slow
def test_under_any_rounding_of_products():
    run("-p", "rounding")
