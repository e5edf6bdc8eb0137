"""Thirty mistakes of a new user at the command line: each gets one line that says what, where, and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from planted import planted

from megalabel.data.convert import convert

LINEAR = "--trees 1 --clusters 4 --quiet"
NEW = f"-o new {LINEAR}"
BAG = "-o new --encoder bag --tokenizer words --epochs 1"
# The files that a user might give instead of the right one.
FILES = {
    "bars.csv": b"text#labels\nred fruit#apple\n",
    "category.csv": b"text,category\nred fruit,apple\n",
    "no-header.csv": b"red fruit,apple\nyellow fruit,banana\n",
    "book.xlsx": b"PK\x03\x04",
    "empty.csv": b"",
    "header.csv": b"text,labels\n",
    "no-labels.csv": b"text,labels\nred fruit,\nyellow fruit,\n",
    "latin.csv": "text,labels\nthé noir,tea\n".encode("cp1252"),
    "texts.txt": b"red fruit\nyellow fruit\n",
    "abstracts.csv": b"abstract,year\nred fruit,2020\n",
    "broken.jsonl": b'{"text": "red fruit"}\n{"text": "yellow\n',
    "zoo.csv": b"text,labels\nstripes,zebra\nmane,lion\n",
    "options.yaml": b"epochs: 3\n",
}
# What is typed, and what the message names: what was found, where, and what to do.
MISTAKES = [
    ("trian linear set", ["'trian' is not a command", "Did you mean train?"]),
    ("train linear", ["no DATA is given", "train linear [OPTIONS] DATA", "--help"]),
    ("train linear set", ["no run folder is named", "--out OUT"]),
    ("train rene set -o new", ["no recipe 'rene'", "did you mean renee?"]),
    (f"train set linear {NEW}", ["no recipe 'set'", "recipe first", "train linear set"]),
    (f"train linear sets {NEW}", ["sets: there is no such file or folder", "Did you mean set?"]),
    (f"train linear wordnet-4k {NEW}", ["no such file or folder", "bundled:wordnet-4k"]),
    (f"train linear set {NEW} --epochs 3", ["--epochs is not an option of", "train linear", "renee"]),
    ("train renee set -o new --head-optimizer adam", ["--head-optimizer: 'adam' is not", "sgd", "adamw?"]),
    ("train renee set -o new --epochs ten", ["--epochs: 'ten' is not a whole number of at least 1"]),
    (f"train renee set {BAG} --device gpu", ["--device: 'gpu' cannot be used", "doctor", "Did you mean cuda?"]),
    (
        f"train renee set {BAG} --warmup 5000",
        ["--warmup: a warm-up of 5,000 steps in a run of ", "shorter than the run", "Lower it"],
    ),
    ("train renee set -o new --encoder minilmm", ["--encoder: no encoder 'minilmm'", "Did you mean minilm?"]),
    ("train renee set -o new --config options.yaml", ["options.yaml is not TOML", "epochs = 3", "--print-config"]),
    ("train cascadexml set -o new --encoder bag --tree run", ["run: a run, not a label tree", "tree build"]),
    (f"train linear bars.csv {NEW}", ["bars.csv, line 1", "'text#labels'", "separated by commas"]),
    (f"train linear category.csv {NEW}", ["category.csv, line 1", "'category'", "--labels-field"]),
    (f"train linear no-header.csv {NEW}", ["no-header.csv, line 1", "a header", "add the header"]),
    (f"train linear book.xlsx {NEW}", ["book.xlsx", "'.xlsx'", "Save the table as CSV"]),
    (f"train linear header.csv {NEW}", ["header.csv", "no texts", "Check the path"]),
    (f"train linear no-labels.csv {NEW}", ["no-labels.csv", "no training text of 2 has a label", "column"]),
    (f"train linear latin.csv {NEW}", ["latin.csv, line 2", "not UTF-8", "--encoding windows-1252"]),
    (f"train linear cut {NEW}", ["cut/trn_X_Y.txt", "says 60 rows, but 57 follow", "complete"]),
    (f"train linear other -o run {LINEAR}", ["--out", "'set'", "'other'", "--overwrite"]),
    (f"train linear set -o set {LINEAR}", ["the folder set contains other files", "another --out"]),
    ("predict set texts.txt", ["set: a data set (raw), not a run", "the folder of a run"]),
    ("predict run abstracts.csv", ["abstracts.csv, line 1", "'abstract', 'year'", "--text-field"]),
    ("predict run broken.jsonl", ["broken.jsonl, line 2", "not JSON", "one record per line"]),
    ("predict run texts.txt --threshold 2", ["--threshold: 2 is above all scores", "from 0 to 1"]),
    ("evaluate run zoo.csv", ["no label of zoo", "'zebra'", "Give test texts of the task"]),
    ("evaluate run -k 1 3 5", ["'5' is more", "evaluate [OPTIONS] RUN [DATA]", "commas"]),
    ("ensemble run other-run -o new", ["run and other-run", "different labels (64 and 16", "same data set"]),
    ("data convert set new --to json", ["--to: 'json' is not", "Did you mean jsonl?"]),
    ("data convert set other --to jsonl", ["other exists", "Choose another name"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two data sets, a truncated one, and the files above."""
    made: Path = tmp_path_factory.mktemp("user")
    convert(planted(n_texts=60, n_test=10), made / "set", "raw")
    convert(planted(n_labels=16, n_texts=40, n_test=10), made / "other", "raw")
    shutil.copytree(made / "set", made / "cut")
    rows = (made / "cut" / "trn_X_Y.txt").read_text().splitlines(keepends=True)
    (made / "cut" / "trn_X_Y.txt").write_text("".join(rows[:-3]))
    for name, content in FILES.items():
        (made / name).write_bytes(content)
    return made


@pytest.fixture
def user(folder, command, monkeypatch):
    """Runs the command line in that folder, which holds the runs `run` and `other-run`."""
    monkeypatch.chdir(folder)
    for data, run in (("set", "run"), ("other", "other-run")):
        if not Path(run).exists():
            status, _, err = command("train", "linear", data, "-o", run, *LINEAR.split())
            assert status == 0, err
    return command


@pytest.mark.parametrize(("typed", "facts"), MISTAKES, ids=[typed for typed, _ in MISTAKES])
def test_a_mistake_gets_one_line_with_cause_place_and_next_step(typed, facts, user):
    status, out, err = user(*typed.split())
    assert (status, out) == (2, "")
    *told, message = err.splitlines()
    assert message.startswith("megalabel: ")
    assert not any("Traceback" in line for line in told)
    assert [fact for fact in facts if fact not in message] == []
    assert not Path("new").exists()


def test_the_list_is_long_enough():
    assert len(MISTAKES) >= 30
