import errno
import os
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from megalabel.errors import FormatError, SettingError
from megalabel.storage.files import atomic_folder, read_json, recover, write_bytes_atomically, write_json
from megalabel.storage.tensors import fill, load_tensors, save_tensors


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with atomic_folder(tmp_path / "a") as new:
        (new / "x").write_text("1")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "a") as new:
        (new / "x").write_text("2")
        raise ZeroDivisionError
    assert (tmp_path / "a" / "x").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_an_error_that_names_the_file_or_folder(tmp_path):
    with pytest.raises(OSError) as of_folder, atomic_folder(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError) as of_file, write_bytes_atomically(tmp_path / "b"):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError) as named, atomic_folder(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "full", "c")
    assert of_folder.value.filename == str(tmp_path / "a")
    assert of_file.value.filename == str(tmp_path / "b")
    assert named.value.filename == "c"
    assert not list(tmp_path.iterdir())


def test_a_folder_left_aside_by_a_crash_is_put_back(tmp_path):
    aside = tmp_path / ".a.old-123"
    aside.mkdir()
    (aside / "x").write_text("1")
    recover(tmp_path / "a")
    assert (tmp_path / "a" / "x").read_text() == "1"


def test_a_file_that_fails_keeps_the_old_one(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ZeroDivisionError), write_bytes_atomically(tmp_path / "a.json") as file:
        file.write(b"{")
        raise ZeroDivisionError
    assert read_json(tmp_path / "a.json", next_step="-") == {"x": 1}


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_damaged_json_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match=r"a\.json"):
        read_json(tmp_path / "a.json", next_step="-")


TENSORS = {
    "a": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(3.5, dtype=torch.float64),
    "half": torch.randn(5).to(torch.bfloat16),
    "turned": torch.arange(6).reshape(2, 3).t(),
    "flags": torch.tensor([True, False]),
}


def test_the_library_reads_what_we_write_and_the_other_way_round(tmp_path):
    save_tensors(tmp_path / "ours", TENSORS)
    save_file({k: v.contiguous() for k, v in TENSORS.items()}, tmp_path / "theirs", metadata={"a": "b"})
    for read in (load_file(tmp_path / "ours"), load_tensors(tmp_path / "theirs", next_step="-")):
        assert read.keys() == TENSORS.keys()
        assert all(torch.equal(read[k], v) and read[k].dtype == v.dtype for k, v in TENSORS.items())


def test_filling_a_module_checks_names_shapes_and_types(tmp_path):
    module, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_tensors(tmp_path / "w", module.state_dict())
    fill(other, tmp_path / "w", next_step="-")
    assert torch.equal(other.weight, module.weight)
    for wrong in (
        nn.Linear(3, 3),
        nn.Linear(3, 2, bias=False),
        nn.Linear(3, 2).double(),
        nn.Bilinear(1, 1, 1),
    ):
        with pytest.raises(FormatError):
            fill(wrong, tmp_path / "w", next_step="-")


def test_cut_and_scrambled_weights_are_refused(tmp_path):
    save_tensors(tmp_path / "w", TENSORS)
    whole = (tmp_path / "w").read_bytes()
    for damaged in (whole[:-1], whole[:5], b"", whole + b"x", b"\xff" * 40):
        (tmp_path / "w").write_bytes(damaged)
        with pytest.raises(FormatError, match="cannot be loaded"):
            load_tensors(tmp_path / "w", next_step="-")
    with pytest.raises(FormatError):
        load_tensors(tmp_path / "nothing", next_step="-")


def test_numbers_survive(tmp_path):
    values = torch.from_numpy(np.array([np.nan, np.inf, -0.0, 1e-45], np.float32))
    save_tensors(tmp_path / "w", {"v": values})
    read = load_tensors(tmp_path / "w", next_step="-")["v"]
    assert read.numpy().tobytes() == values.numpy().tobytes()


def test_facts_in_the_header_that_do_not_agree_are_refused(tmp_path):
    save_tensors(tmp_path / "w", {"a": torch.arange(4.0)})
    whole = (tmp_path / "w").read_bytes()
    for before, after in ((b"[4]", b"[5]"), (b'"F32"', b'"F33"'), (b'"F32"', b'"F64"'), (b'"shape"', b'"shame"')):
        (tmp_path / "w").write_bytes(whole.replace(before, after))
        with pytest.raises(FormatError, match="cannot be loaded"):
            load_tensors(tmp_path / "w", next_step="-")


def test_half_a_surrogate_pair_survives_json(tmp_path):
    write_json(tmp_path / "a.json", {"n\udc80": "ü\ud800"})
    assert read_json(tmp_path / "a.json", next_step="-") == {"n\udc80": "ü\ud800"}


def test_a_folder_with_brackets_in_its_name_is_put_back(tmp_path):
    (tmp_path / ".a[1].old-7").mkdir()
    recover(tmp_path / "a[1]")
    assert (tmp_path / "a[1]").is_dir()


def test_files_are_synced_through_writable_handles_as_windows_demands(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    synced, fsync = [], os.fsync

    def strict(handle):
        mode = fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            if mode == os.O_RDONLY:
                raise OSError(9, "Bad file descriptor")
            synced.append(handle)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", strict)
    with atomic_folder(tmp_path / "a") as new:
        (new / "x").write_text("1")
    write_json(tmp_path / "b.json", {"b": 1})
    assert len(synced) == 2


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_temporary_names_cannot_be_foreseen_and_no_link_is_followed(tmp_path, monkeypatch):
    names = set()
    for _ in range(3):
        with write_bytes_atomically(tmp_path / "x.jsonl") as file:
            names.update(path.name for path in tmp_path.iterdir() if path.name.startswith("."))
            file.write(b"1")
        with atomic_folder(tmp_path / "folder"):
            names.update(path.name for path in tmp_path.iterdir() if path.name.startswith("."))
    assert len(names) == 6
    assert not any(str(os.getpid()) == name.rpartition("-")[2] for name in names)
    victim = tmp_path / "victim"
    victim.write_text("kept")
    monkeypatch.setattr("secrets.token_hex", lambda n: "known")
    (tmp_path / ".x.jsonl.new-known").symlink_to(victim)
    (tmp_path / ".folder.new-known").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".y.jsonl.new-known").symlink_to(tmp_path / "nowhere")  # dangling
    for name in ("x.jsonl", "y.jsonl"):
        with pytest.raises(FileExistsError), write_bytes_atomically(tmp_path / name) as file:
            file.write(b"2")
    with pytest.raises(FileExistsError), atomic_folder(tmp_path / "folder"):
        pass
    assert victim.read_text() == "kept"
    assert not (tmp_path / "nowhere").exists() and not (tmp_path / "elsewhere").exists()
    assert (tmp_path / ".x.jsonl.new-known").is_symlink()  # what is not ours is not removed


def test_new_files_have_the_rights_that_the_user_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_written_to_and_stays_one(tmp_path):
    import threading

    os.mkfifo(tmp_path / "p.jsonl")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "p.jsonl").read_bytes()))
    reader.start()
    with write_bytes_atomically(tmp_path / "p.jsonl") as file:
        file.write(b"answers")
    reader.join()
    assert got == [b"answers"]
    assert stat.S_ISFIFO((tmp_path / "p.jsonl").stat().st_mode)


def test_a_folder_is_no_file_to_write(tmp_path):
    with pytest.raises(SettingError, match="is a folder"), write_bytes_atomically(tmp_path):
        pass
    with pytest.raises(SettingError, match="has no name"), atomic_folder("/"):
        pass
