"""The package megalabel-runtime, installed into an empty environment and run there."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from untrained import untrained

from megalabel.exporting.export import export

MOST = 120_000_000  # bytes beside Python
LISTED = """
import json, sys
import megalabel_runtime.kernels as kernels
print(json.dumps([kernels.chosen.__name__, sorted(m.split(".")[0] for m in sys.modules)]))
"""


def test_the_installed_package_answers_alone_and_is_small(runtime_alone, tmp_path):
    whole = untrained(["cat", "dog", "fish"])
    export(whole, tmp_path / "model.mlr")
    command = [runtime_alone, "-m", "megalabel_runtime", tmp_path / "model.mlr", "-k", "2"]
    done = subprocess.run(command, input="a b\n", capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert [label["label"] for label in answer["labels"]] == [name for name, _ in whole.predict(["a b"], 2)[0]]
    files = [file for file in runtime_alone.parents[1].rglob("*megalabel_runtime*/**/*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"installed: {size / 1e6:.2f} MB")
    assert 0 < size < MOST
    assert any("LICENSE" in file.name for file in files)


def test_the_compiled_operations_are_used_and_nothing_else_is_imported(runtime_alone):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    done = subprocess.run([runtime_alone, "-c", LISTED], capture_output=True, text=True, check=True)
    name, modules = json.loads(done.stdout)
    assert name == "megalabel_runtime._fast"
    assert not set(modules) & {"torch", "numpy", "transformers", "pandas", "tokenizers", "megalabel"}
