"""Manifests: they cover themselves, their files and the folders inside, and name nothing else."""

import json
import os
import threading

import pytest
import torch

from megalabel.errors import FormatError, MegalabelError
from megalabel.storage import files
from megalabel.storage.files import atomic_folder, latest, recover
from megalabel.storage.manifest import read_manifest, write_manifest
from megalabel.storage.tensors import save_tensors
from megalabel.version import __version__

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def made(folder):
    folder.mkdir()
    (folder / "a").write_text("1")
    (folder / "inside").mkdir()
    (folder / "inside" / "b").write_text("2")
    write_manifest(folder / "inside", 1, {"x": 1})
    write_manifest(folder, 1, {"beams": [10], "scale": 0.1, "texts": "ä\udc80"})
    return folder


def read(folder):
    return read_manifest(folder, "model", 1, next_step="copy it")


def test_a_manifest_covers_itself_and_the_folders_inside(tmp_path):
    folder = made(tmp_path / "m")
    assert read(folder)["beams"] == [10]
    path = folder / "manifest.json"
    whole = path.read_text()
    for before, after in (("10", "11"), ("0.1", "0.2"), ('"beams"', '"beam"'), ("ä", "a")):
        path.write_text(whole.replace(before, after, 1))
        with pytest.raises(FormatError, match=r"manifest was changed|format"):
            read(folder)
    path.write_text(json.dumps(dict(reversed(json.loads(whole).items()))))  # the order is of no weight
    assert read(folder)["scale"] == 0.1
    write_manifest(folder / "inside", 1, {"x": 2})
    with pytest.raises(FormatError, match=r"inside.manifest\.json: the file is missing or differs from"):
        read(folder)


def test_every_flipped_bit_of_a_manifest_is_found_or_changes_nothing(tmp_path):
    folder = made(tmp_path / "m")
    path = folder / "manifest.json"
    whole, expected = path.read_bytes(), read(folder)
    known = {key: expected[key] for key in ("format", "beams", "scale", "texts", "sha256")}
    for i in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[i // 8] ^= 1 << i % 8
        path.write_bytes(flipped)
        try:
            found = read(folder)
        except MegalabelError:
            continue
        assert {key: found.get(key) for key in known} == known


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "c:a", "a\0", "x" * 5000])
def test_a_manifest_names_only_what_is_in_its_folder(name, tmp_path):
    folder = made(tmp_path / "m")
    (tmp_path / "a").write_text("1")
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["manifest_sha256"]
    content["sha256"][name] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(FormatError):
        read(folder)


@posix
def test_links_to_outside_are_refused_with_the_right_hash_too(tmp_path):
    folder = made(tmp_path / "m")
    (tmp_path / "a").write_text("1")
    (folder / "a").unlink()
    (folder / "a").symlink_to(tmp_path / "a")
    with pytest.raises(FormatError, match=r"a link to outside of the folder.*cp -rL"):
        read(folder)
    (folder / "a").unlink()
    (folder / "c").write_text("1")
    (folder / "a").symlink_to("c")
    assert read(folder)
    (tmp_path / "link").symlink_to(folder)
    assert read(tmp_path / "link")


@pytest.mark.parametrize("digest", [5, None, [], {}, "", "0" * 64, "ABC", True])
def test_hashes_that_are_none_are_refused(digest, tmp_path):
    folder = made(tmp_path / "m")
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["manifest_sha256"]
    content["sha256"]["a"] = digest
    path.write_text(json.dumps(content))
    with pytest.raises(FormatError, match="SHA-256"):
        read(folder)


def test_readers_take_the_folder_that_was_moved_aside_and_leave_it_there(tmp_path):
    aside = tmp_path / ".m.old-123"
    made(aside)
    assert latest(tmp_path / "m") == aside
    assert aside.is_dir() and not (tmp_path / "m").exists()
    recover(tmp_path / "m")  # the owner puts it back
    assert latest(tmp_path / "m") == tmp_path / "m"
    assert not aside.exists()


def test_two_writers_of_a_folder_end_with_one_of_theirs(tmp_path):
    errors = []

    def write(text: str) -> None:
        try:
            for _ in range(30):
                with atomic_folder(tmp_path / text[0] / ".." / "m") as new:
                    (new / "x").write_text(text)
        except OSError as error:
            errors.append(error)

    for name in "ab":
        (tmp_path / name).mkdir()
    write("a" * 9)
    assert (tmp_path / "m" / "x").read_text() == "a" * 9
    assert not errors


def test_a_folder_that_another_writer_put_there_between_the_renames_is_replaced(monkeypatch, tmp_path):
    moved = []
    usual = files.os.path.lexists

    def put_there(path):
        found = usual(path)
        if path == tmp_path / "m" and not moved:  # just after it was seen to be missing
            moved.append(path)
            path.mkdir()
            (path / "theirs").write_text("x")
        return found

    monkeypatch.setattr(files.os.path, "lexists", put_there)
    with atomic_folder(tmp_path / "m") as new:
        (new / "ours").write_text("x")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["ours"]


def test_a_reader_meets_writers_and_disturbs_none(tmp_path):
    ended, wrong = threading.Event(), []

    def write() -> None:
        for i in range(60):
            with atomic_folder(tmp_path / "m") as new:
                save_tensors(new / "w", {"a": torch.full((50,), float(i))})
                write_manifest(new, 1, {"i": i})
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not ended.is_set():
        there = latest(tmp_path / "m")
        try:
            read(there)
        except MegalabelError:
            continue  # the folder was replaced meanwhile, which `read_model` tries again
        except Exception as error:
            wrong.append(error)
    thread.join()
    assert not wrong
    assert read(tmp_path / "m")["i"] == 59


@posix
def test_a_link_in_the_place_of_a_folder_is_replaced_and_what_it_names_is_left_alone(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("kept")
    (tmp_path / "m").symlink_to("elsewhere")
    for text in ("1", "2"):
        with atomic_folder(tmp_path / "m") as new:
            (new / "x").write_text(text)
    assert (tmp_path / "m" / "x").read_text() == "2"
    assert (tmp_path / "elsewhere" / "x").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "m"]


@pytest.mark.parametrize("version", [__version__, "99.1.0"])
def test_a_newer_format_asks_for_a_newer_release_and_never_for_the_one_in_use(version, tmp_path):
    folder = made(tmp_path / "m")
    facts = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**facts, "format": 9, "version": version}))
    with pytest.raises(FormatError) as caught:
        read(folder)
    step = str(caught.value.next_step)
    assert ("99.1.0 or later" in step) == (version == "99.1.0")
    assert "newer release" in step or __version__ not in step
    assert f"install megalabel {__version__}" not in step
