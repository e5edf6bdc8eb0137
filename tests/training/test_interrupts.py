"""Ctrl-C, SIGTERM and SIGHUP in a training: the step at work is kept, and the run goes on to the same weights."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from support.light_runs import SHORT

import megalabel
from megalabel.cli.start import interrupt
from megalabel.recipes.renee import renee
from megalabel.training import checkpoint
from megalabel.training.interrupts import SIGNALS, Interrupts
from megalabel.training.log import Log

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


def signalled(monkeypatch, step: int, *numbers: int) -> None:
    """The process gets signals while a step is at work."""
    told = Log.step

    def step_and_signal(self, number, *rest):
        told(self, number, *rest)
        if number == step:
            for asked in numbers:
                os.kill(os.getpid(), asked)

    monkeypatch.setattr(Log, "step", step_and_signal)


@posix
@pytest.mark.parametrize(
    ("number", "raised", "said"),
    [
        (signal.SIGINT, KeyboardInterrupt, "stopped by Ctrl-C after step 3 of"),
        (getattr(signal, "SIGTERM", 0), SystemExit, "stopped by SIGTERM after step 3 of"),
        (getattr(signal, "SIGHUP", 0), SystemExit, "stopped by SIGHUP after step 3 of"),
    ],
)
def test_a_training_that_is_stopped_keeps_its_last_step(monkeypatch, data, tmp_path, capfd, number, raised, said):
    before = {n: signal.getsignal(n) for n in SIGNALS}
    whole = megalabel.train(renee(data, **SHORT), tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        signalled(patch, 2, number)
        with pytest.raises(raised) as stopped:
            megalabel.train(renee(data, **SHORT), tmp_path / "r")
    if raised is SystemExit:
        assert stopped.value.code == 128 + number
    assert said in capfd.readouterr().err
    assert checkpoint.newest(tmp_path / "r" / "last").name == "step-000000003"
    assert not (tmp_path / "r" / ".lock").exists()
    assert {n: signal.getsignal(n) for n in SIGNALS} == before
    resumed = megalabel.train(renee(data, **SHORT), tmp_path / "r", quiet=True)
    assert torch.equal(resumed.head.weight, whole.head.weight)
    assert (tmp_path / "r/model/head.safetensors").read_bytes() == (
        tmp_path / "whole/model/head.safetensors"
    ).read_bytes()


@posix
def test_the_handler_of_the_command_line_makes_room_for_a_training(monkeypatch, data, tmp_path):
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        signalled(monkeypatch, 2, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            megalabel.train(renee(data, **SHORT), tmp_path / "r", quiet=True)
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGINT, before)
    assert checkpoint.newest(tmp_path / "r" / "last").name == "step-000000003"


@posix
def test_ctrl_c_in_an_import_ends_the_process_even_if_the_import_drops_exceptions(tmp_path):
    (tmp_path / "interrupted.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    program = (
        "import signal\nfrom megalabel.cli.start import interrupt\nsignal.signal(signal.SIGINT, interrupt)\n"
        "try:\n    import interrupted\nexcept BaseException:\n    pass\nprint('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 130
    assert (done.stdout, done.stderr) == ("", "\nmegalabel: interrupted\n")


@posix
def test_the_last_step_is_kept_too_and_the_model_made_by_the_next_command(monkeypatch, data, tmp_path):
    recipe = renee(data, **SHORT)
    with monkeypatch.context() as patch:
        signalled(patch, recipe.batches.steps - 1, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            megalabel.train(recipe, tmp_path / "r", quiet=True)
    assert not json.loads((tmp_path / "r" / "recipe.json").read_text())["finished"]
    megalabel.train(renee(data, **SHORT), tmp_path / "r", quiet=True)
    assert json.loads((tmp_path / "r" / "recipe.json").read_text())["finished"]["steps"] == recipe.batches.steps


@posix
def test_a_second_ctrl_c_ends_at_once(monkeypatch, data, tmp_path):
    signalled(monkeypatch, 2, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        megalabel.train(renee(data, **SHORT), tmp_path / "r", quiet=True)
    assert checkpoint.newest(tmp_path / "r" / "last") is None


@posix
def test_a_signal_that_the_program_has_taken_over_stays_its_own(monkeypatch, data, tmp_path):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        signalled(monkeypatch, 2, signal.SIGTERM)
        megalabel.train(renee(data, **SHORT), tmp_path / "r", quiet=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_a_training_in_another_thread_leaves_signals_alone(data, tmp_path):
    before, found = {n: signal.getsignal(n) for n in SIGNALS}, []

    def work() -> None:
        with Interrupts().waiting():
            found.append({n: signal.getsignal(n) for n in SIGNALS})

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


@posix
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.5, 1.0, 2.0])
def test_ctrl_c_shows_no_traceback_from_the_first_moment_on(seconds, tmp_path):
    command = [sys.executable, "-m", "megalabel", "train", "renee", "bundled:wordnet-4k", "--encoder", "bag"]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "r")], stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)  # at any moment the same holds: nothing here waits for a moment
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    # Before Python has found megalabel, its own start is interrupted, which nobody can catch.
    python = "Traceback" in said and "megalabel" not in said.rpartition("Traceback")[2]
    assert python or "Traceback" not in said, said
    assert process.returncode in (130, -signal.SIGINT) or python, said


@posix
def test_one_of_several_processes_stops_with_the_others_and_ignores_further_signals():
    before = {n: signal.getsignal(n) for n in SIGNALS}
    interrupts = Interrupts(patient=True)
    with interrupts.waiting():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.asked == signal.SIGTERM
    with Interrupts(patient=True).waiting() as others, pytest.raises(SystemExit) as stopped:
        others.end()
    assert stopped.value.code == 128 + signal.SIGTERM
    assert {n: signal.getsignal(n) for n in SIGNALS} == before
