"""What is read from the log of a run, and the peak memory of a process."""

import errno
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from megalabel.cli.jobs import best_validation
from megalabel.progress import Progress
from megalabel.training.log import Log, peak_mb, truncate_log
from megalabel.tuning.history import TRIALS, History, Result

WHOLE = '{"step": 1, "epoch": 0.5, "validation": {"P@1": 40.0}}\n'
DAMAGED = (b"\xff\xfe\n", b'{"step": "x"}\n', b"[" * 100_000 + b"\n", b"7\n", b'{"step": 2\n', b'{"step": null}\n')


def test_a_damaged_log_is_cut_and_summed_up_without_its_damage(tmp_path):
    log = tmp_path / "log.jsonl"
    for damage in DAMAGED:
        log.write_bytes(WHOLE.encode() + damage)
        assert best_validation(tmp_path, "P@1") == "best validation P@1 40.00 after epoch 0.5"
        truncate_log(log, 5)
        assert log.read_text() == WHOLE


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell them apart")
def test_the_peak_of_a_process_is_not_that_of_its_parent():
    held = np.ones(30_000_000)  # 240 MB
    code = "from megalabel.training.log import peak_mb; print(peak_mb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < peak_mb() - held.nbytes / 2e6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_is_told_with_the_log_and_the_file_of_trials(tmp_path):
    for name in ("log.jsonl", TRIALS):
        (tmp_path / name).symlink_to("/dev/full")
    opened = Log(tmp_path / "log.jsonl", step=0, steps=1, per_epoch=1, quiet=True)
    with pytest.raises(OSError) as of_log, opened as log:
        log.line(0, loss=1.0)
    history = History.__new__(History)  # a new one would read the file, which has no end
    history.path, history._mark = tmp_path / TRIALS, 0.0
    with pytest.raises(OSError) as of_trials:
        history.add(Result(0, "linear", {}, None, "finished", {}, 1.0))
    assert [Path(str(caught.value.filename)).name for caught in (of_log, of_trials)] == ["log.jsonl", TRIALS]


def test_progress_that_cannot_be_written_ends_no_task(monkeypatch):
    class Full(io.StringIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("megalabel.progress.LINE_SECONDS", 0.0)
    with Progress("a task", 2, stream=Full()) as progress:
        progress.advance(2)
    assert progress.done == 2
