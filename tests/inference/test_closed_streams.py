"""`megalabel predict` and `megalabel evaluate` with standard streams that are closed or full."""

import json
import os
import subprocess
import sys

import pytest


def best(out):
    return [json.loads(line)["labels"][0]["label"] for line in out.splitlines()]


def test_standard_streams_that_are_closed(command, run, base, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    status, _, err = command("predict", run)
    assert (status, "standard input is closed" in err) == (2, True)
    (tmp_path / "t.txt").write_text("purr\n")
    assert command("predict", run, tmp_path / "t.txt")[0] == 0
    monkeypatch.setattr(sys, "stdout", None)
    status = command("predict", run, tmp_path / "t.txt")[0]
    assert status == 2
    assert command("predict", run, tmp_path / "t.txt", "-o", tmp_path / "p.jsonl")[0] == 0
    assert command("evaluate", run, base)[0] == 0


@pytest.mark.skipif(os.name == "nt", reason="closes streams as a shell does")
def test_a_process_without_streams_writes_into_no_other_file(run, tmp_path):
    (tmp_path / "t.txt").write_text("purr whisker\n")
    command = f'"{sys.executable}" -m megalabel predict "{run}"'
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for line, status in (
        (f"{command} - <&-", 2),
        (f'{command} "{tmp_path}/t.txt" >&-', 2),
        (f'{command} "{tmp_path}/t.txt" -o "{tmp_path}/p.jsonl" <&- >&- 2>&-', 0),
    ):
        done = subprocess.run(line, shell=True, capture_output=True, text=True, env=env)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
    assert best((tmp_path / "p.jsonl").read_text()) == ["cat"]
    if os.path.exists("/dev/full"):
        done = subprocess.run(
            f"{command} {tmp_path}/t.txt > /dev/full", shell=True, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "Free some space" in done.stderr
