"""Files are read as the data of the run were: fields, encodings, and layouts whose reader changes the texts."""

import gzip
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import layouts
from support.layouts import put

from megalabel.data.corpus import Corpus
from megalabel.data.test_side import open_to_measure
from megalabel.errors import DataError
from megalabel.inference.reading import TextOptions, read_rows

ROWS = [("purr whisker", "cat"), ("bark leash", "dog"), ("moo udder", "cow"), ("meow purr", "cat")] * 5


def texts_of(path, **how):
    said = []
    return [row.text for row in read_rows(path, None, TextOptions(**how), said.append)], said


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a CSV file with other names of columns, another encoding and a separator that is named."""
    from typer.testing import CliRunner

    from megalabel.cli.main import app

    made = tmp_path_factory.mktemp("run")
    cells = "Body,Tags\n" + "".join(f"{text} naïve,{label}~pet\n" for text, label in ROWS)
    (made / "set.csv").write_bytes(cells.encode("latin-1"))
    given = ["--text-field", "Body", "--labels-field", "Tags", "--encoding", "latin-1", "--label-separator", "~"]
    typed = ["train", "linear", str(made / "set.csv"), "--out", str(made / "run"), "--quiet", *given]
    result = CliRunner().invoke(app, typed)
    assert result.exit_code == 0, result.output
    return made / "run"


def table(columns, rows=ROWS[:3]):
    return ",".join(columns) + "\n" + "".join(f"{text} naïve,{label}~pet\n" for text, label in rows)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("new.csv", table(["Body", "Tags"]).encode("latin-1"), ["read as latin-1", "'Body'", "'Tags'", "'~'"]),
        ("new.csv", table(["body", "Tags"]).encode(), ["'Body', as in training", "'Tags'", "'~'"]),
        ("new.csv", table(["text", "labels"]).encode(), ["there is no 'Body'", "there is no 'Tags'", "'~'"]),
        ("new.csv", b'text,Tags\npurr,"[""cat"", ""pet""]"\n', ["there is no 'Body'", "'Tags', as in training"]),
        (
            "new.csv.gz",
            gzip.compress(table(["Body", "Tags"]).encode("latin-1"), mtime=0),
            ["read as latin-1", "'Body'"],
        ),
        ("new.jsonl", b'{"Body": "purr", "Tags": "cat~pet"}\n', ["'Body'", "'Tags'", "'~'"]),
        (
            "new.jsonl",
            b'{"text": "purr", "labels": ["cat", "pet"]}\n',
            ["there is no 'Body'", "there is no 'Tags'"],
        ),
    ],
)
def test_evaluate_reads_another_file_as_the_run_read_its_own(command, run, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    status, out, err = command("evaluate", run, tmp_path / name, "--out", tmp_path / "m.json")
    assert status == 0 and "P@1" in out, err
    assert [fact for fact in said if fact not in err] == [] and "are not labels of the model" not in err


def test_what_is_said_goes_before_what_was_recorded(command, run, tmp_path):
    (tmp_path / "new.csv").write_text("Body,Story,Tags,Topics\nx,purr whisker,dog,cat~pet\n")
    more = ["--text-field", "Story", "--labels-field", "Topics", "--out", tmp_path / "m.json"]
    status, out, err = command("evaluate", run, tmp_path / "new.csv", *more)
    assert status == 0 and "'Body'" not in err and "'Tags'" not in err
    status, out, err = command("predict", run, tmp_path / "new.csv", "--text-field", "Tags")
    assert status == 0 and json.loads(out)["Body"] == "x" and "in training" not in err


def test_neither_the_recorded_nor_the_usual_field(command, run, tmp_path):
    (tmp_path / "new.csv").write_text("Story,Topics\npurr whisker,cat\n")
    status, _, err = command("evaluate", run, tmp_path / "new.csv")
    assert status == 2 and "the columns 'Story', 'Topics'" in err and "--text-field" in err
    status, _, err = command("predict", run, tmp_path / "new.csv")
    assert status == 2 and "--text-field" in err


def test_predict_reads_the_recorded_field_and_encoding(command, run, tmp_path):
    (tmp_path / "new.csv").write_bytes(table(["Body", "Tags"]).encode("latin-1"))
    status, out, err = command("predict", run, tmp_path / "new.csv", "-k", 1)
    assert status == 0 and out.count("\n") == 3, err
    assert "read as latin-1, as in training" in err and "read from 'Body', as in training" in err


@pytest.mark.parametrize("field, expected", [("body", "inner"), ("gone", "outer")])
def test_fields_of_all_formats(tmp_path, field, expected):
    said_of = {"inner": f"read from '{field}', as in training", "outer": f"no '{field}' as in training"}[expected]
    row = {"text": "outer", "body": "inner"}
    put(
        tmp_path,
        {"a.jsonl": json.dumps(row) + "\n", "a.json": json.dumps([row]), "a.csv": "text,body\nouter,inner\n"},
    )
    put(tmp_path, {"a.tsv": "text\tbody\nouter\tinner\n"})
    pq.write_table(pa.table({name: [value] for name, value in row.items()}), tmp_path / "a.parquet")
    for suffix in ("jsonl", "json", "csv", "tsv", "parquet"):
        texts, said = texts_of(tmp_path / f"a.{suffix}", trained_field=field)
        assert texts == [expected] and len(said) == 1 and said_of in said[0], suffix
        assert texts_of(tmp_path / f"a.{suffix}")[0] == ["outer"]


def test_a_line_of_text_is_no_header(tmp_path):
    put(tmp_path, {"a.txt": "arms,body,legs\nred\n", "b": "body,more\nred,x\n"})
    assert texts_of(tmp_path / "a.txt", trained_field="body")[0] == ["arms,body,legs", "red"]
    assert texts_of(tmp_path / "b", trained_field="body")[0] == ["red"]


@pytest.fixture
def cascade(tmp_path):
    """A folder of CascadeXML whose texts hold underscores and marks."""
    files = layouts.cascadexml()
    for name in ("train_raw_texts.txt", "test_raw_texts.txt"):
        files[name] = "".join(f"big_cat  one /SEP/{line}\n" for line in files[name].splitlines())
    return put(tmp_path / "Amazon-670K", files)


def test_texts_of_cascadexml_are_predicted_for_as_they_are_trained_on(cascade):
    corpus = Corpus.open(cascade)
    texts, said = texts_of(cascade / "test_raw_texts.txt")
    assert texts == list(corpus.test.texts) and texts[0].startswith("big cat one [SEP] ")
    assert "as in CascadeXML's folders" in said[0]
    other = list(Corpus.open(cascade, text_separator="|").test.texts)
    assert texts_of(cascade / "test_raw_texts.txt", text_separator="|")[0] == other
    assert texts_of(cascade / "train_raw_texts.txt")[0] == list(corpus.train.texts)


def test_the_layout_of_texts_without_labels_is_that_of_training_or_named(cascade, tmp_path):
    lines = (cascade / "test_raw_texts.txt").read_text()
    alone = put(tmp_path / "alone", {"test_raw_texts.txt": lines, "texts.txt": lines})
    expected = list(Corpus.open(cascade).test.texts)
    plain, said = texts_of(alone / "test_raw_texts.txt")
    assert plain == lines.splitlines() and "--format cascadexml" in said[0]
    assert texts_of(alone / "test_raw_texts.txt", trained_format="cascadexml")[0] == expected
    assert texts_of(alone / "texts.txt", format="cascadexml")[0] == expected
    assert texts_of(alone / "texts.txt", trained_format="cascadexml") == (plain, [])


def test_spartex_keeps_its_texts_without_a_separator(tmp_path):
    files = layouts.spartex()
    files["test_raw_texts.txt"] = "".join(f"a_b/SEP/{line}\n" for line in files["test_raw_texts.txt"].splitlines())
    folder = put(tmp_path / "Wiki10-31K", files)
    texts, said = texts_of(folder / "test_raw_texts.txt")
    assert texts == list(Corpus.open(folder).test.texts) and texts[0].startswith("a_b/SEP/") and not said
    texts, said = texts_of(folder / "test_raw_texts.txt", text_separator=";")
    assert texts == list(Corpus.open(folder, text_separator=";").test.texts) and texts[0].startswith("a_b;")


@pytest.mark.parametrize("layout", ["cascadexml", "spartex"])
def test_a_test_side_alone_of_these_layouts_is_measured(tmp_path, layout):
    folder = put(tmp_path / "set", getattr(layouts, layout)())
    whole = Corpus.open(folder)
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in folder.iterdir():
        if file.is_file() and ("test" in file.name or "tst" in file.name or file.name in ("Y.txt", "labels.txt")):
            shutil.copy(file, alone)
    _, split = open_to_measure(alone)
    assert list(split.texts) == list(whole.test.texts) and len(split) == len(whole.test)


def test_a_test_side_alone_with_the_labels_of_both_layouts(tmp_path):
    files = {**layouts.cascadexml(), **layouts.spartex("x{}")}
    folder = put(tmp_path / "set", {name: text for name, text in files.items() if "tst" in name or "test" in name})
    with pytest.raises(DataError, match="--format"):
        open_to_measure(folder)
    assert open_to_measure(folder, format="spartex")[0].label_texts[0].startswith("x")


def test_predict_on_the_texts_of_a_cascadexml_run(command, cascade, tmp_path):
    typed = ["train", "linear", cascade, "--out", tmp_path / "run", "--trees", 1, "--quiet"]
    status, _, err = command(*typed)
    assert status == 0, err
    shutil.copy(cascade / "test_raw_texts.txt", tmp_path / "test_raw_texts.txt")
    status, out, err = command("predict", tmp_path / "run", tmp_path / "test_raw_texts.txt")
    assert status == 0 and "as in CascadeXML's folders" in err
    assert out.count("\n") == len(Corpus.open(cascade).test)


@pytest.mark.parametrize("name", ["new.jsonl", "new.csv"])
def test_test_texts_without_labels_are_not_called_training_texts(name, tmp_path):
    rows = {"new.jsonl": '{"text": "purr", "labels": []}\n' * 2, "new.csv": "text,labels\npurr,[]\nbark,[]\n"}
    (tmp_path / name).write_text(rows[name])
    with pytest.raises(DataError, match=r"no text of 2 has a label.* or use `predict` for texts without labels"):
        open_to_measure(tmp_path / name)
    with pytest.raises(DataError, match="no training text of 2 has a label"):
        Corpus.open(tmp_path / name)
