"""`megalabel train` in several processes: one run folder, and one message where they do not fit each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planted import planted

from megalabel.data.convert import convert

COMMAND = "support.failure_programs:command"
OPTIONS = (
    "--encoder bag --tokenizer words --max-length 16 --epochs 1 --batch-size 64 --bias --head-lr 0.02 "
    "--token-lr 0.02 --dropout 0 --validation-fraction 0 --checkpoint-seconds 0"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[Path, Path]:
    """Two data sets of the same size."""
    folder = tmp_path_factory.mktemp("data")
    for seed in (0, 1):
        convert(planted(seed=seed), folder / str(seed), "raw")
    return folder / "0", folder / "1"


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return ["train", "renee", str(data), "--out", str(out), *OPTIONS, *more]


def message(ends: list[tuple[int, str]]) -> str:
    lines = [line for _, text in ends for line in text.splitlines() if line.startswith("megalabel:")]
    assert len(lines) == 1, ends
    assert ends[0][1].count(lines[0]) == 1, "process 0 speaks"
    return lines[0]


def test_a_command_trains_in_two_processes_and_says_so_once(ranks, data, tmp_path):
    ends = ranks.ends(2, COMMAND, [arguments(data[0], tmp_path / "run")] * 2)
    assert [code for code, _ in ends] == [0, 0], ends
    assert "trained in" in ends[0][1] and not ends[1][1]
    recorded = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recorded["finished"]["processes"] == 2
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "held_out.npy", "log.jsonl", "model", "recipe.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "code", "said"),
    [
        ("options", 3, "--batch-size 32, but 64 in process 0"),
        ("data", 3, "fingerprint"),
        ("overwrite", 3, "--overwrite true, but false in process 0"),
        ("folder", 4, "other"),
    ],
)
def test_commands_that_do_not_fit_each_other_end_with_one_message(ranks, data, tmp_path, case, code, said):
    other = {
        "options": arguments(data[0], tmp_path / "run", "--batch-size", "32"),
        "data": arguments(data[1], tmp_path / "run"),
        "overwrite": arguments(data[0], tmp_path / "run", "--overwrite"),
        "folder": arguments(data[0], tmp_path / "other"),
    }[case]
    ends = ranks.ends(2, COMMAND, [arguments(data[0], tmp_path / "run"), other])
    assert [status for status, _ in ends] == [code, code], ends
    assert said in message(ends)


def test_a_command_that_each_process_would_do_by_itself_is_refused(ranks, tmp_path):
    ends = ranks.ends(2, COMMAND, [["evaluate", str(tmp_path)]] * 2)
    assert [status for status, _ in ends] == [2, 2], ends
    assert "the command evaluate in a job of 2 processes" in message(ends)
