"""Every example runs as its docstring says, in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))
START = 'if __name__ == "__main__":'
NEEDS = {"ray_lake": "ray"}  # packages that are not among the dependencies
SMALLER = {"rerank_minilm": "STEPS, N_FIT, N_TEST = 5, 30, 30"}  # of what takes minutes


def test_the_list_of_examples_is_complete():
    listed = re.findall(r"^\| `(\w+\.py)`", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == [file.name for file in FILES]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_example_runs(file, tmp_path):
    if file.stem in NEEDS:
        pytest.importorskip(NEEDS[file.stem], reason="the example needs it")
    program = [str(file)]
    if file.stem in SMALLER:
        source = file.read_text(encoding="utf-8")
        assert source.count(START) == 1
        program = ["-c", source.replace(START, f"{SMALLER[file.stem]}\n{START}")]
    done = subprocess.run(
        [sys.executable, "-W", "error", *program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
