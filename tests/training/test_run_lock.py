"""One writer per run folder, however it ends."""

import json
import os
import subprocess
import sys
import threading

import pytest
from support.light_runs import SHORT

import megalabel
from megalabel.errors import SettingError
from megalabel.recipes.linear import linear
from megalabel.recipes.renee import renee
from megalabel.training import run_lock
from megalabel.training.cleanup import remove_run
from megalabel.training.run_lock import writing

# Holds the lock until its input ends.
HOLDER = """
import sys
from pathlib import Path
from megalabel.training.run_lock import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes the run folder `r`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "r")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.mark.parametrize("recipe", [renee, linear])
def test_a_folder_that_another_process_writes_is_refused_with_its_number(data, tmp_path, holder, recipe):
    arguments = SHORT if recipe is renee else {"trees": 1, "clusters": (4,)}
    with pytest.raises(SettingError, match=f"in use by process {holder.pid}; expected a folder to which no other"):
        megalabel.train(recipe(data, **arguments), tmp_path / "r", quiet=True)
    assert [path.name for path in (tmp_path / "r").iterdir()] == [".lock"]


def test_a_killed_writer_leaves_the_folder_free(data, tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "r" / ".lock").exists()
    megalabel.train(renee(data, **SHORT), tmp_path / "r", quiet=True)
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == [
        "held_out.npy",
        "log.jsonl",
        "model",
        "recipe.json",
    ]


def test_a_second_thread_is_refused_and_the_same_may_ask_again(tmp_path):
    found = []

    def ask() -> None:
        try:
            with writing(tmp_path / "r"):
                found.append("held")
        except SettingError as error:
            found.append(error.found)

    with writing(tmp_path / "r"), writing(tmp_path / "r"):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert f"in use by process {os.getpid()}" in found[0]
    assert not (tmp_path / "r").exists()  # made for the lock alone
    ask()
    assert found[1:] == ["held"]


def test_a_run_is_not_replaced_while_another_process_writes_it(command, tmp_path, holder):
    (tmp_path / "r" / "recipe.json").write_text(json.dumps({"recipe": "renee", "finished": None}))
    arguments = ["bundled:wordnet-4k", "--encoder", "bag", "--out", tmp_path / "r", "--overwrite"]
    status, _, said = command("train", "renee", *arguments)
    assert status == 2
    assert f"in use by process {holder.pid}" in said
    assert (tmp_path / "r" / "recipe.json").exists()


def test_replacing_a_run_keeps_the_lock(tmp_path):
    (tmp_path / "r" / "last").mkdir(parents=True)
    (tmp_path / "r" / "recipe.json").write_text("{}")
    with writing(tmp_path / "r"):
        remove_run(tmp_path / "r")
        assert [path.name for path in (tmp_path / "r").iterdir()] == [".lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="as Windows does it")
def test_it_works_as_windows_does_it(monkeypatch, tmp_path):
    class Msvcrt:
        LK_NBLCK, taken = 2, set()

        @classmethod
        def locking(cls, handle, mode, n):
            assert (mode, n, os.lseek(handle, 0, os.SEEK_CUR)) == (cls.LK_NBLCK, 1, 1 << 30)
            if os.fstat(handle).st_ino in cls.taken:
                raise OSError(13, "Permission denied")
            cls.taken.add(os.fstat(handle).st_ino)

    monkeypatch.setattr(run_lock.sys, "platform", "win32")
    monkeypatch.setattr(run_lock, "msvcrt", Msvcrt, raising=False)
    with writing(tmp_path / "r"):
        assert (tmp_path / "r" / ".lock").read_text() == f"{os.getpid()}\n"
        run_lock._held.clear()
        with pytest.raises(SettingError, match=f"process {os.getpid()}"), writing(tmp_path / "r"):
            pass
        run_lock._held[(tmp_path / "r").resolve()] = threading.get_ident()
    assert not (tmp_path / "r").exists()


def test_a_file_system_without_locks_locks_nothing(monkeypatch, data, tmp_path):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(handle, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with writing(tmp_path / "r"):
        (tmp_path / "r" / "x").touch()
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["x"]


def test_what_kills_left_in_a_finished_run_is_removed(data, tmp_path):
    out = tmp_path / "r"
    megalabel.train(renee(data, **SHORT), out, quiet=True)
    for folder in ("last/step-000000003", ".model.old-1", ".model.new-abc", ".first.new-7", "cache"):
        (out / folder).mkdir(parents=True)
    for file in (".recipe.json.new-17", ".held_out.npy.new-9", "log.new", ".lock"):
        (out / file).write_text("half")
    (out / "metrics.json").write_text("{}")
    (out / ".mine").write_text("kept")
    megalabel.train(renee(data, **SHORT), out, quiet=True)
    kept = [".mine", "held_out.npy", "log.jsonl", "metrics.json", "model", "recipe.json"]
    assert sorted(p.name for p in out.iterdir()) == kept
