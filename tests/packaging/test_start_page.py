"""The first page of the documentation, followed to the letter in an empty folder, with the wheel installed."""

import os
import re
import subprocess
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "index.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_start_page_leads_from_a_table_to_answers(installed, tmp_path):
    environment = {**os.environ, "PATH": f"{installed.parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)

    def run(command, **options):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, **options
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run([installed, "-c", "import megalabel; print(megalabel.__file__)"])
    assert where.startswith(str(installed.parents[1]))
    for name, table in re.findall(r"^```csv file=(\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        (tmp_path / name).write_text(table, encoding="utf-8")
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for kind, block in blocks if not kind for line in block.splitlines()]
    commands = [line for line in lines if "megalabel " in line]
    verbs = [line.split("megalabel ")[1].split()[0] for line in commands]
    assert verbs == ["data", "train", "predict", "evaluate", "data"]
    printed = [run(line, shell=True) for line in commands]
    assert '"label": "display"' in printed[2] and "P@1" in printed[3]
    assert (tmp_path / "tickets" / "test.csv").is_file()
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    assert "display" in run([installed, "-c", code]).splitlines()[0]
