"""Model folders that somebody edited, hashes included: an error of megalabel, and nothing run, read or asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from support.manifests import edited
from support.scripts import load_script
from untrained import untrained

import megalabel
from megalabel.errors import FormatError, SettingError

WRITTEN = Path(__file__).parent / "data" / "v0.1.0"
EVIL = "from pathlib import Path; Path('ran.txt').write_text('ran')\nfrom transformers import BertModel\n"


@pytest.fixture
def saved(tmp_path):
    """A folder with a copy of a model, as it is saved today."""

    def copy(name: str) -> Path:
        megalabel.load(WRITTEN / name / "run").save(tmp_path / name)
        return tmp_path / name

    return copy


@pytest.mark.parametrize("part", ["text", "base"])
def test_a_part_of_another_model_is_not_taken_for_its_own(part, saved, tmp_path):
    folder = saved("hybrid")
    shutil.rmtree(folder / part)
    shutil.copytree(saved("cascadexml") if part == "base" else saved("linear") / "text", folder / part)
    with pytest.raises(FormatError, match=rf"{part}.manifest\.json"):
        megalabel.load(folder)


def test_an_ensemble_with_a_part_of_another_is_refused(tmp_path):
    one, two = untrained(["a", "b"]), untrained(["a", "b"])
    megalabel.Ensemble([one, two]).save(tmp_path / "e")
    other = untrained(["a", "b"])
    with torch.no_grad():
        other.head.weight.add_(1)
    other.save(tmp_path / "e" / "part1")
    with pytest.raises(FormatError, match=r"part1.manifest\.json"):
        megalabel.load(tmp_path / "e")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such links")
@pytest.mark.parametrize("name", ["base", "text"])
def test_a_folder_inside_that_is_a_link_to_outside_is_refused(name, saved, tmp_path):
    folder = saved("hybrid")
    shutil.move(folder / name, tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="link to outside"):
        megalabel.load(folder)


@pytest.mark.parametrize("path", [b"renee", None, 5, ["renee"], "a\0b", {}])
def test_what_is_no_path_is_refused(path):
    for load in (megalabel.load, megalabel.NeuralClassifier.load, megalabel.LinearClassifier.load):
        with pytest.raises(SettingError, match="expected a path"):
            load(path)


def test_a_wrong_device_is_not_called_damage(saved):
    folder = saved("renee")
    for load in (megalabel.load, megalabel.NeuralClassifier.load):
        with pytest.raises(SettingError, match="device"):
            load(folder, device="nonsense")


def test_a_model_that_is_replaced_while_it_is_read_is_read_again(saved, monkeypatch):
    folder = saved("renee")
    other = megalabel.load(folder)
    with torch.no_grad():
        other.head.weight.mul_(-1)
    from megalabel.models import neural

    usual, calls = neural.load_names, []

    def replaced(place):
        if not calls:
            other.save(folder)
        calls.append(place)
        return usual(place)

    monkeypatch.setattr(neural, "load_names", replaced)
    found = megalabel.load(folder)
    assert len(calls) > 1
    assert torch.equal(found.head.weight, other.head.weight)


def test_a_model_that_is_moved_aside_while_it_is_read_is_read_there(saved, monkeypatch):
    """As `atomic_folder` moves the old folder just before the new one takes its place."""
    folder = saved("renee")
    from megalabel.models import neural

    usual, calls = neural.load_names, []

    def moved(place):
        if not calls:
            folder.rename(folder.with_name(f".{folder.name}.old-0"))
        calls.append(place)
        return usual(place)

    monkeypatch.setattr(neural, "load_names", moved)
    assert megalabel.load(folder).predict(["a"], 1)
    assert (calls[0].name, calls[-1].name) == (folder.name, f".{folder.name}.old-0")


def test_loading_while_another_saves_disturbs_neither(saved):
    folder, wrong, ended = saved("renee"), [], threading.Event()
    model = megalabel.load(folder)

    def save() -> None:
        try:
            for _ in range(15):
                model.save(folder)
        except Exception as error:
            wrong.append(error)
        ended.set()

    thread = threading.Thread(target=save)
    thread.start()
    loaded = 0
    while not ended.is_set():
        assert torch.equal(megalabel.load(folder).head.weight, model.head.weight)
        loaded += 1
    thread.join()
    assert not wrong and loaded


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "answer"), [("align_text_model", "y\nsome text\n"), ("mymodel", "yes\n"), ("mymodel", "1\n")]
)
def test_a_model_folder_is_not_asked_about_and_runs_nothing(model_type, answer, saved, tmp_path):
    folder = saved("bert")
    (folder / "mod.py").write_text(EVIL + "class Evil(BertModel): pass\n")
    with edited(folder) as manifest:
        config = manifest["encoder"]["config"]["config"]
        config |= {"model_type": model_type, "auto_map": {"AutoModel": f"{folder}--mod.Evil"}}
        config["trust_remote_code"] = True
    done = subprocess.run(
        [sys.executable, "-m", "megalabel", "predict", str(folder), "-"],
        input=answer, capture_output=True, text=True, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "y/N" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("ran.txt"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each case is a forked process")
def test_damaged_and_hostile_folders(tmp_path):
    """A hundred of the mutations that `scripts/fuzz_models.py` makes."""
    counts, wrong = load_script("fuzz_models").fuzz(100, 20_26, tmp_path)
    assert not wrong, "\n".join(wrong)
    assert sum(counts.values()) == 100


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each trial is a forked process")
def test_killed_runs_end_as_if_nothing_had_been(tmp_path):
    """Two of the trials that `scripts/kill_runs.py` makes; `training/test_resume.py` kills runs of all kinds."""
    script = load_script("kill_runs")
    counts, wrong = script.kill(2, 7, tmp_path)
    assert not wrong, "\n".join(wrong)
    assert counts["trials"] == 2
