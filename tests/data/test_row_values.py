"""Weights and sources of texts: where they are read from, what is refused, and what keeps them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from megalabel.data.check import check
from megalabel.data.convert import convert
from megalabel.data.corpus import Corpus
from megalabel.data.read_options import ReadOptions
from megalabel.data.row_weights import normalized_weights, with_weight
from megalabel.data.test_side import open_to_measure
from megalabel.errors import DataError

TEXTS = ["one", "two", "three", "four"]
LABELS = [["a"], ["b"], ["a", "b"], ["c"]]
WEIGHTS = [2.0, 0.0, 1.0, 0.5]
SOURCES = ["old", "new", "old", ""]


def corpus() -> Corpus:
    return Corpus.of(
        TEXTS,
        LABELS,
        weights=WEIGHTS,
        sources=SOURCES,
        test_texts=["five", "six"],
        test_labels=[["a"], ["b"]],
        test_sources=["new", "old"],
    )


def json_lines(folder: Path, records: list[dict[str, object]], name: str = "train.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return folder


def records(**values: list[object]) -> list[dict[str, object]]:
    """Records with further fields; Ellipsis stands for a missing one."""
    made: list[dict[str, object]] = []
    for i, (text, labels) in enumerate(zip(TEXTS, LABELS, strict=True)):
        more = {name: given[i] for name, given in values.items() if given[i] is not ...}
        made.append({"text": text, "labels": labels, **more})
    return made


@pytest.mark.parametrize("to", ["jsonl", "csv", "parquet", "raw", "lf-json", "fasttext", "pecos", "libmultilabel"])
def test_formats_keep_weights_and_sources(to, tmp_path):
    convert(corpus(), tmp_path / "data", to)
    found = Corpus.open(tmp_path / "data")
    np.testing.assert_array_equal(found.train.weights, WEIGHTS)
    assert list(found.train.sources) == SOURCES
    assert found.test.weights is None
    assert list(found.test.sources) == ["new", "old"]


def test_other_fields_are_read_on_request(tmp_path):
    folder = json_lines(
        tmp_path / "data", records(trust=[1, 2, 3, 4], origin=["x", 7, "x", "y"], weight=["?"] * 4)
    )
    found = Corpus.open(folder, weight_field="trust", source_field="origin")
    assert found.train.weights.tolist() == [1, 2, 3, 4]
    assert list(found.train.sources) == ["x", "7", "x", "y"]
    assert found.opened == {"weight_field": "trust", "source_field": "origin"}
    ignored = Corpus.open(folder, weight_field="-")
    assert ignored.train.weights is None
    assert Corpus.open(folder, weight_field="-", labels_field="labels").fingerprint() == ignored.fingerprint()


@pytest.mark.parametrize("option", [{"weight_field": "trust"}, {"source_field": "origin"}])
def test_a_named_field_that_no_text_has_is_an_error(option, tmp_path):
    with pytest.raises(DataError, match="no text has a"):
        Corpus.open(json_lines(tmp_path / "data", records()), **option)


def test_a_missing_weight_is_one_and_is_said(tmp_path):
    folder = json_lines(tmp_path / "data", records(weight=[..., 3, None, 0.5], source=[..., "b", "b", ...]))
    found = Corpus.open(folder)
    assert found.train.weights.tolist() == [1, 3, 1, 0.5]
    assert list(found.train.sources) == ["", "b", "b", ""]
    said = [str(finding) for finding in found.findings if finding.notable]
    assert any("without a weight, which is 1 (and 1 more" in line for line in said)
    assert any("without a source" in line for line in said)
    assert any("from 0.5 to 3" in line for line in said)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "heavy", [1], True, {"a": 1}, "1e999"])
def test_bad_weights_are_errors_with_their_line(bad, tmp_path):
    folder = json_lines(tmp_path / "data", records(weight=[1, 1, bad, 1]))
    with pytest.raises(DataError, match=r"train\.jsonl.*line 3.*weight"):
        Corpus.open(folder)
    report = check(folder)
    assert not report.ok


@pytest.mark.parametrize("bad", [1.5, ["a"], {"a": 1}])
def test_bad_sources_are_errors_with_their_line(bad, tmp_path):
    with pytest.raises(DataError, match=r"line 2.*source"):
        Corpus.open(json_lines(tmp_path / "data", records(source=["a", bad, "a", "a"])))


def test_weights_of_zero_alone_are_refused(tmp_path):
    with pytest.raises(DataError, match="all training texts are 0"):
        Corpus.open(json_lines(tmp_path / "data", records(weight=[0, 0, 0, 0])))
    with pytest.raises(DataError, match="all training texts are 0"):
        Corpus.of(TEXTS, LABELS, weights=[0] * 4)


def test_cells_of_a_table(tmp_path):
    lines = ["text;labels;Weight;source", "one;a;2;x", "two;b;;y", "three;a;0.5;"]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    found = Corpus.open(tmp_path)
    assert found.train.weights.tolist() == [2, 1, 0.5]
    assert list(found.train.sources) == ["x", "y", ""]
    (tmp_path / "train.csv").write_text("\n".join([*lines, "four;a;2,5;x"]) + "\n")
    with pytest.raises(DataError, match=r"line 5.*'2,5'"):
        Corpus.open(tmp_path)


def test_columns_of_flags_are_labels_unless_they_are_named(tmp_path):
    (tmp_path / "train.csv").write_text("text,source,weight,art\none,1,0,1\ntwo,0,1,1\nthree,1,1,0\n")
    found = Corpus.open(tmp_path)
    assert list(found.label_texts) == ["source", "weight", "art"]
    assert found.train.weights is None
    named = Corpus.open(tmp_path, weight_field="weight")
    assert list(named.label_texts) == ["source", "art"]
    assert named.train.weights.tolist() == [0, 1, 1]


def test_a_field_of_texts_or_labels_is_no_source(tmp_path):
    rows = [{"text": "one", "source": ["a"]}, {"text": "two", "source": ["b"]}]
    found = Corpus.open(json_lines(tmp_path / "data", rows), labels_field="source")
    assert found.train.sources is None
    assert list(found.label_texts) == ["a", "b"]


def test_files_beside_the_texts(tmp_path):
    folder = json_lines(tmp_path / "data", records())
    (folder / "trn_weights.txt").write_text("2\n\n1\n0\n")
    assert Corpus.open(folder).train.weights.tolist() == [2, 1, 1, 0]
    assert Corpus.open(folder, weight_field="-").train.weights is None
    (folder / "trn_weights.txt").write_text("2\n1\n")
    with pytest.raises(DataError, match="2 lines for 4 texts"):
        Corpus.open(folder)
    json_lines(folder, records(weight=[1, 2, 3, 4]))
    with pytest.raises(DataError, match="weights in one place"):
        Corpus.open(folder)


def test_fingerprints_change_only_with_weights_and_sources():
    made = corpus()
    bare = Corpus.of(TEXTS, LABELS, test_texts=["five", "six"], test_labels=[["a"], ["b"]])
    before = "ba115669dbfef9f9eada5ed7074a7ef446c9093f65c2af941e9a28ea57f51283"
    assert bare.fingerprint() == before
    train = made.train
    parts = [
        replace(made, train=replace(train, weights=None)),
        replace(made, train=replace(train, sources=None)),
        replace(made, train=replace(train, weights=train.weights * 2)),
        replace(made, test=replace(made.test, sources=None)),
    ]
    assert len({part.fingerprint() for part in (made, bare, *parts)}) == 6


def test_a_report_counts_them(tmp_path):
    convert(corpus(), tmp_path / "data", "jsonl")
    counts = check(tmp_path / "data").counts
    assert counts["train.weight, least"] == 0
    assert counts["train.weight, most"] == 2
    assert counts["train.weights of 0, percent"] == 25
    assert counts["train.sources"] == 3
    assert counts["train.texts from old"] == 2
    assert counts["test.texts from new"] == 1


def test_a_source_is_left_out_of_training(tmp_path):
    convert(corpus(), tmp_path / "data", "jsonl")
    whole, part = Corpus.open(tmp_path / "data"), Corpus.open(tmp_path / "data", leave_out_source="old")
    assert list(part.train.texts) == ["two", "four"]
    assert part.train.weights.tolist() == [0, 0.5]
    assert list(part.train.sources) == ["new", ""]
    assert list(part.label_texts) == list(whole.label_texts)
    assert len(part.test) == len(whole.test)
    assert part.opened == {"leave_out_source": "old"}
    assert part.fingerprint() != whole.fingerprint()
    assert check(tmp_path / "data", ReadOptions(leave_out_source="old")).counts["train.texts"] == 2
    with pytest.raises(DataError, match=r"'elsewhere'.*'old'"):
        Corpus.open(tmp_path / "data", leave_out_source="elsewhere")


def test_leaving_out_keeps_filter_pairs_and_refuses_an_empty_side(tmp_path):
    folder = json_lines(tmp_path / "data", records(source=["x", "x", "y", "y"]))
    (folder / "trn_filter_labels.txt").write_text("0 1\n2 2\n3 0\n")
    part = Corpus.open(folder, leave_out_source="x")
    assert part.train.filter.tolist() == [[0, 2], [1, 0]]
    json_lines(folder, records(source=["x"] * 4))
    with pytest.raises(DataError, match="no training text of another source"):
        Corpus.open(folder, leave_out_source="x")


def test_measured_files_need_no_weights(tmp_path):
    json_lines(tmp_path, [{"text": "a", "labels": ["x"], "weight": 0}], "test.jsonl")
    _, split = open_to_measure(tmp_path, recorded={"leave_out_source": "old", "weight_field": "trust"})
    assert len(split) == 1


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"weights": [1, 2]}, "2 weights"),
        ({"weights": [1, 2, 3, -1]}, "-1"),
        ({"weights": [1, 2, 3, float("nan")]}, "nan"),
        ({"weights": "abcd"}, "one string"),
        ({"sources": ["a"]}, "1 sources"),
        ({"sources": ["a", "b", "c", 1.5]}, "1.5"),
        ({"test_sources": ["a"]}, "without test_texts"),
    ],
)
def test_bad_values_in_memory(given, found):
    with pytest.raises(DataError, match=found):
        Corpus.of(TEXTS, LABELS, **given)


def test_values_of_arrays_and_none():
    made = Corpus.of(TEXTS, LABELS, weights=np.array([1, 2, 3, 4], np.float32), sources=["a", None, "b", "b"])
    assert made.train.weights.tolist() == [1, 2, 3, 4]
    assert list(made.train.sources) == ["a", "", "b", "b"]
    assert Corpus.of(TEXTS, LABELS, weights=[None, 2, 0, 1]).train.weights.tolist() == [1, 2, 0, 1]


def test_normalized_weights_have_the_mean_one():
    split = corpus().train
    rows = with_weight(split, np.arange(4))
    assert rows.tolist() == [0, 2, 3]
    found = normalized_weights(split, rows, 2)
    assert found.dtype == np.float32
    assert found[:3].mean() == pytest.approx(1)
    assert found[3:].tolist() == [1, 1]
    huge = replace(split, weights=np.array([1e308, 0, 1e308, 1e308]))
    assert normalized_weights(huge, rows).tolist() == [1, 1, 1]
    assert normalized_weights(replace(split, weights=None), rows) is None
    with pytest.raises(DataError, match="not held out are 0"):
        with_weight(split, np.array([1]))
