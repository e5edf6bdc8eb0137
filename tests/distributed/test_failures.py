"""What users meet when a job of several processes fails: one message, an exit status of its own, and no hang."""

from __future__ import annotations

import socket

import pytest
import torch

from megalabel.distributed.failures import ProcessLost, as_error
from megalabel.errors import SettingError

JOB, AT_PORT, WITHOUT_LAST, HANG = (
    f"support.failure_programs:{name}" for name in ("job", "at_port", "without_last", "hang")
)
FACTS = {"version": "1", "arguments": {"epochs": 2, "seed": 0}, "data": {"fingerprint": "a" * 64}}


def message(ends: list[tuple[int, str]]) -> str:
    """The only line that the processes of a job have printed."""
    lines = [line for _, text in ends for line in text.splitlines() if line.startswith("megalabel:")]
    assert len(lines) == 1, ends
    return lines[0]


def codes(ends: list[tuple[int, str]]) -> list[int]:
    return [code for code, _ in ends]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {**FACTS, "arguments": {"epochs": 3, "seed": 0}},
            "process 1 has arguments epochs = 3, but 2 in",
        ),
        ({**FACTS, "data": {"fingerprint": "b" * 64}}, "data fingerprint"),
        ({**FACTS, "version": "2"}, "version = 2, but 1"),
    ],
)
def test_other_settings_data_or_versions_of_a_process_are_named_by_process_0(ranks, other, said):
    ends = ranks.ends(3, JOB, "compare", [FACTS, other, FACTS])
    assert codes(ends) == [3, 3, 3]
    assert said in message(ends) and ends[0][1]


def test_processes_with_the_same_facts_go_on(ranks):
    assert ranks.ends(2, JOB, "compare", [FACTS, dict(FACTS)]) == [(0, ""), (0, "")]


def test_a_run_folder_that_processes_do_not_share_is_named_by_process_0(ranks, tmp_path):
    folders = [tmp_path / "first", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    ends = ranks.ends(2, JOB, "share", folders)
    assert codes(ends) == [4, 4]
    assert ends[0][1] and str(folders[1]) in message(ends)
    assert ranks.ends(2, JOB, "share", folders[:1] * 2) == [(0, ""), (0, "")]
    assert not any(list(folder.iterdir()) for folder in folders)


def test_a_port_in_use_is_said_by_the_process_that_would_listen(ranks):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        ends = ranks.ends(2, AT_PORT, port)
    assert codes(ends) == [6, 6]
    assert "in use" in ends[0][1] and str(port) in ends[0][1]


def test_a_process_that_does_not_come_is_said_after_the_time_limit(ranks):
    ends = ranks.ends(3, WITHOUT_LAST)
    assert codes(ends) == [6, 6, 0]
    assert "within 1 s" in ends[0][1]


def test_a_killed_process_is_named_by_one_of_the_others(ranks):
    ends = ranks.ends(3, JOB, "die", 1)
    assert codes(ends) == [7, -9, 7]
    assert "process 1 has ended" in message(ends)


def test_a_process_without_memory_says_so_itself(ranks):
    ends = ranks.ends(2, JOB, "take memory", 1)
    assert codes(ends) == [7, 8]
    assert "process 1: " in ends[1][1] and "memory" in message(ends)


def test_an_error_of_one_process_is_said_by_process_0_and_ends_all(ranks):
    ends = ranks.ends(2, JOB, "refuse", 1)
    assert codes(ends) == [2, 2]
    assert ends[0][1] and "process 1: number: one" in message(ends)


def test_a_program_error_shows_its_traceback_once(ranks):
    ends = ranks.ends(2, JOB, "stumble", 1)
    assert codes(ends) == [7, 1]
    assert "ZeroDivisionError" in ends[1][1] and not ends[0][1]


def test_a_process_that_hangs_ends_the_job_after_the_time_limit(ranks):
    ends = ranks.ends(2, HANG, 1)
    assert codes(ends) == [7, 0]
    assert "process 1 has ended or no longer answers" in message(ends)


def test_a_damaged_checkpoint_has_an_exit_status_of_its_own(ranks, tmp_path):
    tensors = {"rows": torch.randn(5, 2)}
    assert ranks.run(2, "support.checkpoint_programs:save", tmp_path, "step-1", tensors, (0, 2, 5)) == ["", ""]
    (tmp_path / "step-1" / "rank-00001-of-00002.safetensors").unlink()
    ends = ranks.ends(2, JOB, "open", tmp_path / "step-1")
    assert codes(ends) == [5, 5]
    assert "'rows'" in message(ends) and ends[0][1]


def test_errors_of_pytorch_and_of_the_system_become_errors_with_a_process():
    assert isinstance(as_error(RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:4"), 1), ProcessLost)
    setting = SettingError("one", wanted="two")
    assert as_error(setting, 2) is setting and setting.process == 2
    other = RuntimeError("something else")
    assert as_error(other, 0) is other
