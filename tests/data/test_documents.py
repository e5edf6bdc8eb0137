"""JSON in other forms than one object per line."""

import json

import pytest
from support.read_back import put, read
from support.trap_files import refused

from megalabel.data.corpus import Corpus

OBJECTS = [{"text": "a", "labels": ["x"]}, {"text": "b\nc", "labels": ["y", "x"]}, {"text": "d", "labels": []}]


@pytest.mark.parametrize("name", ["train__json", "train__jsonl", "train__ndjson"])
@pytest.mark.parametrize(
    "content",
    [
        json.dumps(OBJECTS),
        json.dumps(OBJECTS, indent=2),
        "\n\n [ \n" + ",\n".join(map(json.dumps, OBJECTS)) + "\n]\n\n",
        "\n".join(json.dumps(value, indent=4) for value in OBJECTS),
        "".join(json.dumps(value) + "\n" for value in OBJECTS),
        "\ufeff" + json.dumps(OBJECTS).replace(", {", "\r\n,{"),
    ],
)
def test_arrays_and_objects_over_several_lines(tmp_path, name, content):
    texts, labels, notes = read(put(tmp_path, **{name: content}))
    assert texts == ["a", "b\nc", "d"] and labels == [["x"], ["x", "y"], []]
    assert [note[:8] for note in notes] == ([] if content.startswith('{"') else ["one JSON"])


def test_the_input_of_a_public_report(tmp_path):
    put(tmp_path, train__json='[{"text":"a","labels":["x"]},{"text":"b","labels":["y"]}]')
    assert read(tmp_path)[:2] == (["a", "b"], [["x"], ["y"]])


def test_a_document_larger_than_the_blocks_in_which_it_is_read(tmp_path):
    rows = [{"text": f"text {i} " + "w" * (i % 977), "labels": [str(i % 7)]} for i in range(9000)]
    for content in (json.dumps(rows), json.dumps(rows, indent=1)):
        texts, labels, _ = read(put(tmp_path, train__json=content))
        assert texts == [row["text"] for row in rows] and labels == [row["labels"] for row in rows]


@pytest.mark.parametrize(
    "content, line, found",
    [
        ('[{"text":"a","labels":["x"]} {"text":"b","labels":["y"]}]', 1, "no comma"),
        ('[{"text":"a","labels":["x"]},\n{"text":"b","labels":["y"]}\n', 3, "the array does not end"),
        ('[{"text":"a","labels":["x"]},\n{"text":"b" "labels":["y"]}]', 2, "Expecting ',' delimiter"),
        ('[{"text":"a","labels":["x"]}]\n[]', 2, "text after the end"),
        ('[\n{"text":"a","labels":["x"]},\n]', 3, "does not parse"),
        ('[\n{"text":"a","labels":["x"]},\n\n{"text":"b"}]', 4, "without 'labels'"),
        ('[\n{"text":"a","labels":["x"]},\n7]', 3, "a JSON number"),
        ('{"text":{"0":"a"},"labels":{"0":["x"]}}', 1, "'text' is a JSON object"),
        ('[{"text":"a","labels":[' + "9" * 5000 + "]}]", 1, "too many digits"),
        ('[{"text":"a","labels":' + "[" * 3000, 1, "does not parse"),
    ],
)
def test_documents_that_are_none(tmp_path, content, line, found):
    refused(put(tmp_path, train__json=content), f"train.json, line {line}", found)


def test_what_to_do_about_a_wrapped_document(tmp_path):
    assert read(put(tmp_path, train__json='{"rows":[{"text":"a","labels":["x"]}]}'))[:2] == (["a"], [["x"]])
    report = refused(put(tmp_path, train__json='{"rows":[{"text":"a"}]}'), "train.json", "the keys ['text']")
    assert "--labels-field" in report.findings[0].message
    put(tmp_path, train__json='{"rows":[{"body":"a","tags":["x"],"topics":["y"]}]}')
    corpus = Corpus.open(tmp_path, text_field="body", labels_field="topics")
    assert list(corpus.train.texts) == ["a"] and list(corpus.label_texts) == ["y"]
    report = refused(
        put(tmp_path, train__json='{"text":{"0":"a"},"labels":[]}'), "line 1", "'text' is a JSON object"
    )
    assert "lines=True" in report.findings[0].message


def test_two_names_for_one_split(tmp_path):
    put(tmp_path, train__json="[]", train__jsonl="{}")
    refused(tmp_path, tmp_path.name, "train.jsonl and train.json")


def test_lf_json_as_one_document(tmp_path):
    rows = [{"title": "a", "content": "b", "target_ind": [1]}, {"title": "c", "target_ind": [0, 1]}]
    put(tmp_path, trn__json=json.dumps(rows), lbl__json=json.dumps([{"title": "x"}, {"title": "y"}]))
    assert read(tmp_path)[:2] == (["a b", "c"], [["y"], ["x", "y"]])
