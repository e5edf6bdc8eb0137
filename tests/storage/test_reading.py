"""Files that are no files, too large, too deep: one kind of error, in finite time."""

import errno
import json
import os

import pytest
import torch

from megalabel.errors import FormatError, ResourceError
from megalabel.storage.budget import Budget, check_whole_numbers
from megalabel.storage.files import read_json
from megalabel.storage.manifest import read_manifest
from megalabel.storage.reading import brief, open_regular, parse_json, read_bytes, reading, refused
from megalabel.storage.tensors import load_tensors

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


@posix
@pytest.mark.parametrize("kind", ["fifo", "zero", "folder", "loop", "dangling"])
def test_what_is_no_file_is_refused_and_not_waited_for(kind, tmp_path):
    path = tmp_path / "manifest.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"zero": "/dev/zero", "loop": "manifest.json", "dangling": "nowhere"}[kind])
    with pytest.raises(FormatError):
        read_json(path, next_step="look")
    with pytest.raises(FormatError):
        read_manifest(tmp_path, "model", 1, next_step="look")
    with pytest.raises(FormatError):
        load_tensors(path, next_step="look")
    with pytest.raises(OSError):
        open_regular(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "deep"),
        ('{"a":' * 100_000, "deep"),
        ('{"a": ' + "9" * 5000 + "}", "integer"),
        ('{"a": -' + "1" * 4301 + "}", "integer"),
        ("", "Expecting value"),
        ("{", "Expecting"),
    ],
    ids=str,
)
def test_json_that_the_parser_cannot_hold_is_an_error(text, said, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=said):
        read_json(path, next_step="look")
    with pytest.raises(ValueError):
        parse_json(text)


def test_a_file_above_the_limit_is_not_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"a": "x" * 1000}))
    assert len(read_bytes(tmp_path / "a.json", 2000)) == 1009
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        read_bytes(tmp_path / "a.json", 1000)
    with pytest.raises(FormatError, match="more than 1,000 bytes"):
        read_json(tmp_path / "a.json", next_step="-", limit=1000)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ('{"a": ' + "[" * 9000, "deep|Expecting value"),  # Python 3.13 reads deeper than 3.12
        ('{"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}', "a tensor of shape"),
        ('{"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}}', "a tensor of shape"),
        ('{"a": {"dtype": "F32", "shape": [true, 2], "data_offsets": [0, 8]}}', "a tensor of shape"),
        ('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0.0, 8]}}', "a tensor of shape"),
        ('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', "overlap or leave room"),
        ('{"a": {"dtype": "F32", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 8]}}', "integer"),
        ('{"a": {"dtype": [], "shape": [2], "data_offsets": [0, 8]}}', "unhashable|list"),
        ('{"a": 5}', "int"),
        ("[]", "the type list"),
    ],
    ids=range(10),
)
def test_headers_of_tensors_that_cannot_be(header, said, tmp_path):
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(8))
    with pytest.raises(FormatError, match=said):
        load_tensors(tmp_path / "w", next_step="-")


def test_tensors_that_share_their_bytes_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"a": entry, "b": entry}).encode()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(FormatError, match="overlap"):
        load_tensors(tmp_path / "w", next_step="-")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_machine_that_lacks_something_is_not_called_a_damaged_folder(number, tmp_path):
    with (
        pytest.raises(ResourceError, match="ulimit"),
        reading(tmp_path, wanted="a tree", next_step="copy the folder again"),
    ):
        raise OSError(number, os.strerror(number), "tree")
    for error in (MemoryError(), type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")):
        assert isinstance(refused(error, wanted="-", next_step="-", where="-"), ResourceError)
    assert "right to read" in str(refused(PermissionError(13, "no"), wanted="-", next_step="-", where="-"))


def test_a_limit_of_open_files_is_said(monkeypatch, tmp_path):
    def too_many(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    (tmp_path / "a.json").write_text("{}")
    monkeypatch.setattr(os, "open", too_many)
    with pytest.raises(ResourceError, match="ulimit -n"):
        read_json(tmp_path / "a.json", next_step="copy the folder again")


def test_a_panic_of_a_library_is_an_error_and_ctrl_c_is_none(tmp_path):
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(FormatError, match="it broke"), reading(tmp_path, wanted="a", next_step="b"):
        raise panic("it broke")
    for other in (KeyboardInterrupt, SystemExit, GeneratorExit):
        with pytest.raises(other), reading(tmp_path, wanted="a", next_step="b"):
            raise other


def test_messages_of_other_libraries_are_one_short_line():
    assert brief(ValueError("a\n  b\n" + "x" * 1000)).startswith("a b x")
    assert len(brief(ValueError("x" * 1000))) < 250
    assert brief(KeyError("weights")) == "KeyError 'weights'"
    assert brief(ValueError()) == "ValueError"


def test_what_a_configuration_may_cost(tmp_path):
    with Budget(1000, 2):
        torch.nn.Linear(10, 10)
        torch.zeros(3, 4), torch.arange(100), torch.empty((2, 3))
    asked = (
        lambda: torch.nn.Linear(10**5, 10**5),
        lambda: torch.nn.Embedding(10**8, 10**4),
        lambda: torch.empty(10**6, 10**6),
        lambda: torch.zeros((10**6, 10**6)),
        lambda: torch.arange(10**12),
        lambda: [torch.nn.Linear(4, 4) for _ in range(10**9)],
    )
    for work in asked:
        with pytest.raises(FormatError, match="larger than its weights"), Budget(1000, 2):
            work()
    check_whole_numbers({"a": [1, {"b": 1000}], "c": 1e300, "d": True}, 1000, tmp_path, "-")
    for value in (1001, -1001, 10**400):
        with pytest.raises(FormatError, match="number"):
            check_whole_numbers({"a": [1, {"b": value}]}, 1000, tmp_path, "-")
