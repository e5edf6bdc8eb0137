"""The package megalabel-runtime: built, installed into an empty environment, and run there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from untrained import untrained

from megalabel.exporting.export import export

ROOT = Path(__file__).parents[2]
MOST = 120_000_000  # bytes beside Python
LISTED = """
import json, sys
import megalabel_runtime.kernels as kernels
print(json.dumps([kernels.chosen.__name__, sorted(m.split(".")[0] for m in sys.modules)]))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment with nothing but the wheel."""
    if sys.platform == "win32":
        pytest.skip("paths of an environment on Unix")
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(
        ROOT / "runtime", folder / "source/runtime", ignore=shutil.ignore_patterns("build", "*.egg-info")
    )
    shutil.copytree(ROOT / "megalabel/runtime", folder / "source/megalabel/runtime")
    shutil.copy(ROOT / "megalabel/version.py", folder / "source/megalabel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, folder / "source/runtime"]
    done = subprocess.run(wheel, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    venv.create(folder / "venv", with_pip=False)
    found = folder / "venv/bin/python"
    subprocess.run([*pip, "--python", found, "install", "--no-deps", next(folder.glob("*.whl"))], check=True)
    return found


def test_the_installed_package_answers_alone_and_is_small(python, tmp_path):
    whole = untrained(["cat", "dog", "fish"])
    export(whole, tmp_path / "model.mlr")
    command = [python, "-m", "megalabel_runtime", tmp_path / "model.mlr", "-k", "2"]
    done = subprocess.run(command, input="a b\n", capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert [label["label"] for label in answer["labels"]] == [name for name, _ in whole.predict(["a b"], 2)[0]]
    files = [file for file in python.parents[1].rglob("*megalabel_runtime*/**/*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"installed: {size / 1e6:.2f} MB")
    assert 0 < size < MOST
    assert any("LICENSE" in file.name for file in files)


def test_the_compiled_operations_are_used_and_nothing_else_is_imported(python):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    done = subprocess.run([python, "-c", LISTED], capture_output=True, text=True, check=True)
    name, modules = json.loads(done.stdout)
    assert name == "megalabel_runtime._fast"
    assert not set(modules) & {"torch", "numpy", "transformers", "pandas", "tokenizers", "megalabel"}
