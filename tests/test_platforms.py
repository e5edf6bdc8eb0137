"""What other systems lack or refuse, emulated: open files that cannot be replaced, code pages, missing calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.windows import MAPS, emulate
from untrained import untrained

import megalabel
from megalabel.errors import ResourceError
from megalabel.storage.files import atomic_folder, write_text

linux = pytest.mark.skipif(not MAPS.is_file(), reason="sees open files in /proc")
TEXTS = "text,labels\n" + "".join(f"w{i % 5} word{i},label{i % 5};größe\n" for i in range(40))


@pytest.fixture
def windows(monkeypatch):
    """Open files can neither be renamed nor removed, and waiting for them takes no time."""
    emulate(monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@linux
def test_a_folder_in_use_is_kept_and_the_error_says_so(windows, tmp_path):
    place = tmp_path / "folder"
    with atomic_folder(place) as new:
        (new / "a").write_text("1")
    with open(place / "a"), pytest.raises(ResourceError) as caught, atomic_folder(place) as new:
        (new / "a").write_text("2")
    assert str(caught.value).startswith(f"{place},")
    assert (place / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@linux
def test_a_file_in_use_is_kept_and_the_error_says_so(windows, tmp_path):
    write_text(tmp_path / "a", "1")
    with open(tmp_path / "a"), pytest.raises(ResourceError):
        write_text(tmp_path / "a", "2")
    assert (tmp_path / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@linux
def test_a_file_that_is_open_for_a_moment_is_replaced(windows, tmp_path, monkeypatch):
    write_text(tmp_path / "a", "1")
    held = open(tmp_path / "a")
    monkeypatch.setattr(time, "sleep", lambda seconds: held.close())
    write_text(tmp_path / "a", "2")
    assert (tmp_path / "a").read_text() == "2"


@linux
def test_a_new_folder_that_cannot_be_named_leaves_the_old_one(tmp_path, monkeypatch):
    place = tmp_path / "folder"
    with atomic_folder(place) as new:
        (new / "a").write_text("1")
    usual = os.replace

    def refuse(source, target):
        if ".new-" in str(source):
            error = PermissionError(13, "Access is denied", str(source))
            error.winerror = 5
            raise error
        usual(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(ResourceError), atomic_folder(place) as new:
        (new / "a").write_text("2")
    assert (place / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@linux
def test_a_loaded_model_is_saved_beside_its_folder_or_refused(windows, tmp_path):
    untrained(["cat", "dög", "fish"]).save(tmp_path / "model")
    model = megalabel.load(tmp_path / "model")
    wanted = model.predict(["a b"], 2)
    try:
        model.save(tmp_path / "model")
    except ResourceError as error:
        assert "another path" in str(error)
    model.save(tmp_path / "copy")
    for name in ("model", "copy"):
        assert megalabel.load(tmp_path / name).predict(["a b"], 2) == wanted


@linux
@pytest.mark.parametrize("recipe", ["linear", "renee"])
def test_commands_replace_nothing_that_they_hold_open(windows, command, tmp_path, monkeypatch, recipe):
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text(TEXTS, encoding="utf-8")
    more = ["--epochs", 2, "--encoder", "bag"] if recipe == "renee" else []
    for arguments in (
        ("train", recipe, "data.csv", "--out", "run", "--quiet", *more),
        ("train", recipe, "data.csv", "--out", "run", "--quiet", *more),  # loads the finished run
        ("calibrate", "run", "data.csv"),
        ("labels", "run", "--rename", "größe=size", "-o", "renamed"),
        ("evaluate", "run", "data.csv"),
        *([("index", "run")] if recipe == "renee" else []),
        ("export", "run"),
        ("predict", "run", "data.csv", "-o", "out.jsonl"),
    ):
        status, _, said = command(*arguments)
        assert status == 0, said
    assert not [path for path in Path().rglob(".*") if ".old-" in path.name or ".new-" in path.name]


PROGRAM = Path(__file__).parent / "support" / "elsewhere.py"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What commands print and write on a system without calls of Unix, whose code page has few characters."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "größe-数据.csv").write_text(TEXTS, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "cp1252"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, PROGRAM], cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode("cp1252")
    return folder, done.stdout.decode("cp1252"), done.stderr.decode("cp1252")


def test_every_module_is_imported_and_models_are_trained_without_calls_of_unix(elsewhere):
    _, printed, _ = elsewhere
    assert "modules imported" in printed and "without fork" in printed


def test_files_are_utf_8_under_any_code_page(elsewhere):
    folder, *_ = elsewhere
    run = folder / "läufe-数据"
    assert json.loads((run / "recipe.json").read_text(encoding="utf-8"))["finished"]
    answers = [json.loads(line) for line in (folder / "aus-数.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(answers) == 40
    assert any(label["label"] == "größe" for label in answers[0]["labels"])
    assert "größe" in list(megalabel.load(run).label_texts)


def test_one_process_serves_where_none_can_be_forked(elsewhere):
    assert "served: größe" in elsewhere[1]
