"""The first page of the documentation, followed to the letter in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "index.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_start_page_leads_from_a_table_to_answers(tmp_path):
    table = re.search(r"```csv file=(\S+)\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / table[1]).write_text(table[2], encoding="utf-8")
    (tmp_path / "new-tickets.csv").write_text("text,labels\nThe battery died,battery\n", encoding="utf-8")
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for kind, block in blocks if not kind for line in block.splitlines()]
    commands = [line for line in lines if "megalabel " in line]
    verbs = [line.split("megalabel ")[1].split()[0] for line in commands]
    assert verbs == ["data", "train", "predict", "evaluate"]
    printed = []
    for line in commands:
        line = line.replace("megalabel ", f"{sys.executable} -m megalabel ")
        done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert '"label": "display"' in printed[2] and "P@1" in printed[3]
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "display" in done.stdout.splitlines()[0]
