"""Records with title and content: a model gets of them what it was trained on."""

import io
import json

import pytest
from support import layouts
from support.layouts import put

from megalabel.errors import DataError
from megalabel.inference.reading import TextOptions, read_rows
from megalabel.models.base import load

RECORD = {"uid": "7", "title": "red  shoe", "content": "made of leather", "target_ind": [1]}


def read(record, **how):
    said = []
    stream = io.BytesIO(json.dumps(record).encode())
    rows = list(read_rows("-", stream, TextOptions("jsonl", **how), said.append))
    return rows[0], " ".join(said)


@pytest.mark.parametrize(
    "how, text",
    [
        ({}, "red shoe made of leather"),
        ({"data_name": "LF-AmazonTitles-131K"}, "red shoe"),
        ({"data_name": "my-titles"}, "red shoe"),
        ({"data_name": "LF-Amazon-131K"}, "red shoe made of leather"),
        ({"data_name": "LF-AmazonTitles-131K", "text_parts": "both"}, "red shoe made of leather"),
        ({"text_parts": "title"}, "red shoe"),
        ({"text_parts": "content"}, "made of leather"),
        ({"text_separator": "[SEP]"}, "red shoe [SEP] made of leather"),
    ],
)
def test_the_parts_of_a_text(how, text):
    row, said = read(RECORD, **how)
    assert row.text == text and row.fields == {"uid": "7"}
    assert "there is no field 'text'" in said and "--text-parts" in said


@pytest.mark.parametrize(
    "record, text",
    [
        ({"title": "shoe", "content": None}, "shoe"),
        ({"title": "", "content": "leather"}, "leather"),
        ({"content": "leather"}, "leather"),
        ({"title": "Effects", "abstractText": "of leather"}, "Effects of leather"),
        ({"text": "hat", "title": "shoe"}, "hat"),
    ],
)
def test_records_without_one_of_the_parts(record, text):
    assert read(record)[0].text == text


def test_a_title_that_is_no_string_is_refused():
    with pytest.raises(DataError, match="'title' is '3'; expected a string"):
        read({"title": 3, "content": "leather"})


@pytest.fixture(scope="module")
def titles(tmp_path_factory):
    files = layouts.lf_json("", "")  # with contents that point to other labels than the titles
    files["tst.json"] = layouts.records(layouts.TEST_TITLES, layouts.TEST_LABELS, layouts.TITLES[1:9])
    return put(tmp_path_factory.mktemp("data") / "LF-AmazonTitles-131K", files)


@pytest.fixture
def run(command, titles, tmp_path):
    assert command("train", "linear", titles, "--out", tmp_path / "run")[0] == 0
    return tmp_path / "run"


def answers(out):
    return [json.loads(line)["labels"] for line in out.splitlines()]


def test_predict_and_evaluate_read_titles_for_a_model_of_titles(command, titles, run, tmp_path):
    plain = put(tmp_path, {"t.txt": layouts.lines(layouts.TEST_TITLES)}) / "t.txt"
    wanted = answers(command("predict", run, plain, "-k", "3")[1])
    for model in (run, run / "model"):  # a model folder knows the name of its data set
        status, out, err = command("predict", model, titles / "tst.json", "-k", "3")
        assert status == 0 and answers(out) == wanted and "the text is the title alone" in err
    assert answers(command("predict", run, titles / "tst.json", "-k", "3", "--text-parts", "both")[1]) != wanted
    put(tmp_path, {"other/trn.json": layouts.records(layouts.TITLES, layouts.LABELS, layouts.CONTENTS),
                   "other/tst.json": (titles / "tst.json").read_bytes(),
                   "other/Yf.txt": layouts.lines(layouts.NAMES)})  # fmt: skip
    for arguments in ((), (tmp_path / "other",), ("--name", "my-set")):
        status, _, err = command("evaluate", run, *arguments)
        assert status == 0 and "each text is the title alone" in err
    assert "joined by" in command("evaluate", run, "--text-parts", "both")[2]


def test_predict_joins_as_the_run_did(command, titles, tmp_path):
    run = tmp_path / "run"
    said = ["--text-parts", "both", "--text-separator", "[SEP]"]
    assert command("train", "linear", titles, "--out", run, *said)[0] == 0
    both = [f"{t} [SEP] {c}" for t, c in zip(layouts.TEST_TITLES, layouts.TITLES[1:9], strict=True)]
    plain = put(tmp_path, {"t.txt": layouts.lines(both)}) / "t.txt"
    found = answers(command("predict", run, titles / "tst.json")[1])
    assert found == answers(command("predict", run, plain)[1])
    assert load(run).trained_on.name == "LF-AmazonTitles-131K"


def test_parts_that_are_none_are_refused(command, run, titles):
    status, _, err = command("predict", run, titles / "tst.json", "--text-parts", "body")
    assert status == 2 and "text_parts" in err.replace("-", "_") and "both" in err
