"""What a path holds instead of a model, and what to do then."""

import json
import os
import resource

import pytest
from untrained import untrained

import megalabel
from megalabel.errors import FormatError, MegalabelError, SettingError
from megalabel.inputs.token_store import TokenStore
from megalabel.labels.tree import LabelTree
from megalabel.models.base import load
from megalabel.storage.files import write_bytes_atomically
from megalabel.storage.limits import out_of_files

NAMES = ["w", "x", "y", "z"]


@pytest.fixture(scope="module")
def model():
    return untrained(NAMES)


def run_folder(path, finished):
    path.mkdir()
    (path / "recipe.json").write_text(json.dumps({"recipe": "renee", "finished": finished}))
    return path


def test_a_finished_run_and_its_model_folder_load(model, tmp_path):
    run = run_folder(tmp_path / "r", {"seconds": 1.0})
    model.save(run / "model")
    for path in (run, run / "model", str(run)):
        assert list(load(path).label_texts) == NAMES


def test_an_unfinished_run_is_resumed_by_its_own_command(model, tmp_path):
    run = run_folder(tmp_path / "r", None)
    with pytest.raises(FormatError, match=r"the run is not finished.*train` command again, which resumes it"):
        load(run)
    model.save(run / "model")
    with pytest.raises(FormatError, match=r"resumes it; or give .*model, the best model so far"):
        load(run)
    assert list(load(run / "model").label_texts) == NAMES


def test_other_folders_are_called_what_they_are(model, tmp_path):
    model.save(tmp_path / "runs" / "mine" / "model")
    (tmp_path / "runs" / "mine" / "recipe.json").write_text('{"finished": {}}')
    TokenStore.build(model.label_texts, model.encoder.tokenizer, 8, tmp_path / "tokens")
    LabelTree.from_clusters([[[0, 1], [2, 3]]]).save(tmp_path / "tree")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("text,labels\na,b\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.md").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "runs" / "mine" / "last").mkdir()
    for name, said in (
        ("tree", "a label tree, not a model"),
        ("tokens", "a store of tokens, not a model"),
        ("data", r"a data set \(csv\), not a run"),
        ("empty", r"no model \(the folder holds: nothing\)"),
        ("other", r"no model \(the folder holds: notes.md\)"),
        ("file", "a file; expected the folder"),
        ("runs", r"a folder of runs: mine; .*Give one, such as .*mine"),
        ("runs/mine/last", "a part of a run, but not its model.*Give .*mine"),
        ("runs/mein", r"there is no such folder.*Did you mean .*mine\?"),
        ("nowhere/x", "there is no such folder.*Correct the path"),
    ):
        with pytest.raises(FormatError, match=f"(?s){said}"):
            load(tmp_path / name)


@pytest.mark.parametrize("path", ["", "a\0b", None, 3, b"runs", ["runs"], 1.5, b""])
def test_what_is_no_path_is_refused_everywhere(model, path):
    def atomic(path):
        with write_bytes_atomically(path):
            pass

    tree = LabelTree.load
    for use in (load, megalabel.load, model.save, tree, TokenStore.open, atomic, megalabel.NeuralClassifier.load):
        with pytest.raises(SettingError, match=r"path|NUL"):
            use(path)
    with pytest.raises(MegalabelError, match=r"path|NUL"):
        megalabel.Corpus.open(path)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files")
def test_too_many_open_files_are_no_damage(model, tmp_path):
    model.save(tmp_path / "m")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, before[1]))
        while True:
            try:
                opened.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        with pytest.raises(SettingError, match=r"too many open files.*ulimit -n"):
            load(tmp_path / "m")
    finally:
        for handle in opened:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert list(load(tmp_path / "m").label_texts) == NAMES


def test_the_limit_is_seen_through_the_errors_around_it():
    cause = OSError(24, "Too many open files")
    try:
        try:
            raise cause
        except OSError as error:
            raise FormatError("damaged", wanted="whole") from error
    except FormatError as error:
        assert out_of_files(error)
    assert out_of_files(Exception("Too many open files (os error 24)"))
    assert not out_of_files(FormatError("damaged", wanted="whole"))
    assert not out_of_files(None)
