"""What is read from the log of a run, and the peak memory of a process."""

import subprocess
import sys

import numpy as np
import pytest

from megalabel.cli.jobs import best_validation
from megalabel.training.log import peak_mb, truncate_log

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
