"""`megalabel train --memory`: refusals with suggestions that fit, what the plan chooses, and the log."""

import json
import re
import shlex

import pytest
from planted import planted

from megalabel.data.convert import convert

TRAIN = (
    "--max-length 16 --epochs 1 --batch-size 64 --warmup 0 --validation-fraction 0 --label-texts no --device cpu"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "planted"
    convert(planted(), path, "raw")
    return path


@pytest.fixture(autouse=True)
def own_calibration(tmp_path, monkeypatch):
    monkeypatch.setenv("MEGALABEL_CACHE", str(tmp_path / "cache"))
    # The setting of the C library would stay for all tests of this process.
    monkeypatch.setattr("megalabel.training.memory.return_freed_memory", lambda: True)


def test_what_cannot_fit_is_refused_before_the_first_step_and_its_suggestion_fits(
    command, folder, tmp_path, tiny_bert, monkeypatch
):
    """The interpreter counts as 1 MB here, so that a small encoder decides."""
    monkeypatch.setattr("megalabel.planning.baseline.TYPICAL", {"bag": 1e6, "small": 1e6, "pretrained": 1e6})
    begin = ["train", "renee", folder, "-o", tmp_path / "r", "--encoder", tiny_bert, *TRAIN]
    begin += ["--accumulation-steps", 1, "--no-gradient-checkpointing"]
    status, _, err = command(*begin, "--memory", "3MB")
    assert status == 2
    assert not (tmp_path / "r" / "recipe.json").exists()
    suggested = re.search(r"These settings fit: (.*?)(?:; or |\.\n)", err)
    assert suggested, err
    kept = [*begin, *shlex.split(suggested[1])]
    status, _, err = command(*kept, "--memory", "3MB")
    assert status == 0, err
    assert "planned peak memory" in err


def test_too_little_for_python_names_what_it_takes(command, folder, tmp_path):
    status, _, err = command("train", "renee", folder, "-o", tmp_path / "r", "--encoder", "bag", *TRAIN,
                             "--memory", "100MB")  # fmt: skip
    assert status == 2
    enough = re.search(r"--memory \d+MiB", err)
    assert enough, err
    again = command("train", "renee", folder, "-o", tmp_path / "r", "--encoder", "bag", *TRAIN, *enough[0].split())
    assert again[0] == 0, again[2]


def test_the_choice_of_the_plan_is_recorded_and_the_memory_logged(
    command, folder, tmp_path, tiny_bert, monkeypatch
):
    monkeypatch.setattr("megalabel.planning.baseline.TYPICAL", {"bag": 1e6, "small": 1e6, "pretrained": 1e6})
    run = tmp_path / "r"
    status, _, err = command(
        "train", "renee", folder, "-o", run, "--encoder", tiny_bert, *TRAIN, "--memory", "3MB"
    )
    assert status == 0, err
    assert re.search(r"peak memory [\d,]+ MB \(predicted [\d,]+ MB\)", err)
    facts = json.loads((run / "recipe.json").read_text())
    assert facts["arguments"]["accumulation_steps"] > 1
    assert facts["finished"]["predicted_peak_mb"] < 3
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    phases = [line for line in lines if "phase" in line]
    assert [line["phase"] for line in phases] == ["prepared", "first step", "trained"]
    for line in phases:
        assert line["peak_mb"] > 0
        assert line["predicted_mb"]["head weights"] == pytest.approx(
            64 * (32 + 1) * 4 / 1e6, rel=0.01
        )  # with biases
