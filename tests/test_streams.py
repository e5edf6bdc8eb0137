"""Narrow encodings of standard output, and errors of the system, in every command."""

import errno
import json
import os
import subprocess
import sys
import tempfile

import pytest

from megalabel.cli.streams import message
from megalabel.errors import FormatError

ENCODINGS = ("cp1252", "ascii", "utf-8:strict", "latin-1:strict")
TEXTS = [("sawanna wysoka", "żyrafa"), ("mleko łąka", "krowa"), ("猫 鳴く", "猫"), ("😀 🎉", "😀")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set whose folder, texts and labels have names outside of every narrow encoding."""
    folder = tmp_path_factory.mktemp("dane") / "zbiór-żółw"
    folder.mkdir()
    names = [*(label for _, label in TEXTS), "jeż"]  # the last one has no training text
    (folder / "labels.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    lines = [json.dumps({"text": text, "labels": [label]}, ensure_ascii=False) for text, label in TEXTS]
    (folder / "train.jsonl").write_text("\n".join(lines * 10) + "\n", encoding="utf-8")
    (folder / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def commands(data, out):
    """Every command that can be run in a second or so, with the status it ends with."""
    run, tree, texts = out / "przebieg-ł", out / "drzewo-ł", data / "test.jsonl"
    return [
        (["data", "check", data], 0),
        (["data", "check", "/no/ż"], 1),
        (["data", "convert", data, out / "out-ż", "--to", "csv"], 0),
        (["train", "linear", data, "--out", run], 0),
        (["train", "linear", data, "--out", run], 0),
        (["train", "linear", data, "--out", run, "--trees", "1"], 2),
        (["evaluate", run, data], 0),
        (["evaluate", run, texts], 0),
        (["evaluate", out / "ż", data], 2),
        (["predict", run, texts], 0),
        (["predict", run, texts, "-o", out / "odpowiedź.npz"], 0),
        (["predict", run, out / "ż.txt"], 2),
        (["evaluate", out / "odpowiedź.npz", data], 0),
        (["tree", "build", data, "--out", tree], 0),
        (["tree", "show", tree, "--data", data], 0),
        (["ensemble", run, run, "--out", out / "razem-ż"], 0),
        (["recipes"], 0),
        (["doctor"], 0),
        (["predict", "--ż"], 2),
        (["żaden"], 2),
    ]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_command_fails_for_the_encoding_of_its_output(data, tmp_path, encoding):
    """All commands in one process each would take a minute; here one process runs them one after the other."""
    listed = [([str(part) for part in arguments], status) for arguments, status in commands(data, tmp_path)]
    code = (
        "import json, sys\n"
        "from megalabel.cli.main import main\n"
        "for arguments, status in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['megalabel', *arguments]\n"
        "    try:\n        main()\n        found = 0\n"
        "    except SystemExit as stop:\n        found = int(stop.code or 0)\n"
        "    assert found == status, (ascii(arguments), found)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(listed)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux alone")
def test_a_folder_whose_name_is_not_utf8_is_reported(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    for name, status in ((b"", 1), (b"/train.jsonl", 0)):
        if name:
            with open(folder + name, "w") as file:
                file.write('{"text": "a", "labels": ["x"]}\n')
        done = subprocess.run(
            [sys.executable, "-m", "megalabel", "data", "check", folder],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode == status, done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files", "a.npy"), "too many open files.*ulimit -n 4096"),
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space on the disk"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), "^/a: Read-only.*write elsewhere"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "Check the permissions"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a"), "shorter name"),
        (OSError(errno.EIO, "Input/output error"), "the space on the disk"),
        (MemoryError(), "out of memory.*smaller -k"),
        (FormatError("cut", wanted="whole"), "^cut; expected whole$"),
    ],
)
def test_errors_of_the_system_come_with_their_own_advice(error, said):
    import re

    assert re.search(said, message(error))


def test_a_full_folder_for_temporary_files_is_said_to_be_that():
    full, elsewhere = (OSError(errno.ENOSPC, "full", name) for name in (tempfile.gettempdir(), "/data"))
    assert "TMPDIR" in message(full)
    assert "TMPDIR" not in message(elsewhere)
