"""The options of reading, and a line for each guess, in the commands that open data."""

import json

import pytest
from support.read_back import put

import megalabel
from megalabel.cli.arguments import open_data_of, open_data_to_measure
from megalabel.cli.reading import NAMES
from megalabel.errors import DataError
from megalabel.recipes import from_preset

ROWS = [("purr whisker", "cat;pet"), ("bark leash", "dog;pet"), ("moo udder", "cow"), ("meow purr", "cat")] * 5


@pytest.fixture
def table(tmp_path):
    """A folder with CSV files whose columns, encoding and separator are others than the usual ones."""
    folder = tmp_path / "data"
    folder.mkdir()
    cells = "Body,Tags\n" + "".join(f"{text} naïve,{labels}\n" for text, labels in ROWS)
    return put(folder, train__csv=cells.encode("latin-1"), test__csv=cells.encode("latin-1"))


GIVEN = ["--text-field", "Body", "--labels-field", "Tags", "--encoding", "latin-1"]


def test_check_says_what_is_guessed_and_what_is_wrong(command, table):
    status, out, _ = command("data", "check", table)
    assert status == 1 and "--encoding windows-1252" in out
    status, out, _ = command("data", "check", table, "--encoding", "latin-1")
    assert status == 1 and "--text-field" in out
    status, out, _ = command("data", "check", table, *GIVEN)
    assert status == 0 and "separated by `;`, which 10 of 20 cells hold" in out and " labels  " in out
    status, out, _ = command("data", "check", table, *GIVEN, "--label-separator", "|")
    assert status == 0 and "separated" not in out


def test_convert_reads_as_it_is_told(command, table, tmp_path):
    status, _, err = command("data", "convert", table, tmp_path / "out", "--to", "jsonl", *GIVEN)
    assert status == 0, err
    first = json.loads((tmp_path / "out" / "train.jsonl").read_text().splitlines()[0])
    assert first == {"text": "purr whisker naïve", "labels": ["cat", "pet"]}


def test_a_run_remembers_how_its_data_are_read(command, table, tmp_path):
    run = tmp_path / "run"
    train = ["train", "linear", table, "--out", run, *GIVEN]
    status, _, err = command(*train)
    assert status == 0, err
    assert "info: " in err and "labels are taken to be separated by `;`" in err
    facts = json.loads((run / "recipe.json").read_text())["data"]
    assert facts["opened"] == {"text_field": "Body", "labels_field": "Tags", "encoding": "latin-1"}
    assert facts["labels"] == 4
    status, out, err = command("evaluate", run)  # without a word on how to read
    assert status == 0 and "P@1" in out, err
    status, _, err = command(*train, "--label-separator", ";")  # the same data, read as it was guessed
    assert status == 0 and "is finished" in err


@pytest.mark.parametrize(
    "rows, said",
    [
        ('{"text":"a","labels":["x "]}\n{"text":"b","labels":["x"]}\n', "differ only in blanks"),
        ('{"text":"a","labels":["Y"]}\n{"text":"b","labels":["y"]}\n', "upper and lower case"),
        (
            '{"text":"a","labels":[700123]}\n{"text":"b","labels":[42]}\n',
            "only 2 of the label ids from 42 to 700,123",
        ),
        ('{"text":"a","labels":["3"]}\n{"text":"b","labels":["17"]}\n', "only numbers"),
        ('[{"text":"a","labels":["x"]},{"text":"b","labels":["y"]}]', "one JSON array"),
        ('{"text":"a","labels":[0,0,1]}\n{"text":"b","labels":[0,1,0]}\n', "3 zeros and ones"),
    ],
)
def test_train_and_check_say_the_same(command, tmp_path, rows, said):
    put(tmp_path, train__jsonl=rows)
    status, out, _ = command("data", "check", tmp_path)
    assert status == 0 and said in out
    status, _, err = command("train", "linear", tmp_path, "--out", tmp_path / "run")
    assert status == 0 and said in err
    line = next(line for line in err.splitlines() if said in line)
    assert line.startswith(("info: ", "warning: ")) and f"  {line}" in out.splitlines()


@pytest.mark.parametrize(
    "arguments", [("data", "check"), ("data", "convert"), ("evaluate",), ("ensemble",), ("tree", "show")]
)
def test_help_shows_the_options(command, arguments):
    out = command(*arguments, "--help")[1]
    assert all(f"--{name.replace('_', '-')} " in out for name in NAMES)


@pytest.mark.parametrize("arguments", [("train", "renee"), ("prepare",), ("tree", "build")])
def test_help_of_recipes_says_where_they_are(command, arguments):
    out = command(*arguments, "--help")[1]
    assert "--text-field" not in out and "`megalabel data check --help`" in out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--encoding", "utf-88"], "--encoding: 'utf-88' is not an encoding of text"),
        (["--format", "xls"], "--format: 'xls' is not one of raw"),
        (["--label-separator", ""], "--label-separator: an empty value"),
    ],
)
def test_wrong_values_are_one_line(command, table, arguments, said):
    for before in (["data", "check", table], ["tree", "build", table, "--out", table / "tree"]):
        status, out, err = command(*before, *arguments)
        assert said in err + out and status in (1, 2) and len(err.splitlines()) <= 1


def test_several_data_sets_in_a_folder(command, tmp_path):
    put(tmp_path, train__csv="text,labels\na,x\n", train__jsonl='{"text":"a","labels":["y","z"]}\n')
    status, out, _ = command("data", "check", tmp_path)
    assert status == 1 and "--format" in out
    status, out, _ = command("data", "check", tmp_path, "--format", "jsonl")
    assert status == 0 and "(jsonl)" in out


def test_an_address_is_no_path(command, tmp_path):
    for before in (["data", "check"], ["data", "convert"], ["tree", "build"]):
        more = [tmp_path / "out", "--to", "csv"] if before[-1] == "convert" else []
        more = ["--out", tmp_path / "out"] if before[-1] == "build" else more
        status, _, err = command(*before, "https://example.org/data", *more)
        assert status == 2 and "https://example.org/data" in err and "download" in err.lower()


def test_a_run_on_one_file_finds_it_again_from_another_folder(tmp_path, monkeypatch, capsys):
    rows = [f'"text {word}",{word}' for word in ("red", "green", "blue")] * 5
    (tmp_path / "mine.csv").write_text("\n".join(["text,labels", *rows]) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    megalabel.train(from_preset("linear", megalabel.Corpus.open("mine.csv")), "r", quiet=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(open_data_of(tmp_path / "r", None).train) == 15
    with pytest.raises(DataError) as raised:  # rather than measure on the training texts
        open_data_to_measure(tmp_path / "r", None)
    assert "evaluate" in raised.value.next_step
