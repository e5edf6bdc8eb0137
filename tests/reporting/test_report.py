"""`megalabel report`: pages and texts of runs and of stored predictions."""

import base64
import csv
import io
import json
import re

import pytest
from bag_runs import KNOBS
from planted import planted

import megalabel
from megalabel.data.convert import convert
from megalabel.recipes import get

SHORT = {
    "linear": dict(trees=1, bigrams="no", char_ngrams="no", c=1.0, label_texts="no"),
    "cascadexml": {**KNOBS["cascadexml"], "epochs": 2},
    "spartex": {**KNOBS["spartex"], "epochs": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set in a folder, with a name that is no HTML."""
    folder = tmp_path_factory.mktemp("report") / "data"
    corpus = planted()
    names = ["<script>alert(1)</script> & $x_1$", *corpus.label_texts[1:]]
    sides = [
        (list(side.texts), [[names[i] for i in side.labels[row].indices] for row in range(len(side))])
        for side in (corpus.train, corpus.test)
    ]
    (texts, labels), (test_texts, test_labels) = sides
    convert(megalabel.Corpus.of(texts, labels, test_texts=test_texts, test_labels=test_labels), folder, "jsonl")
    return folder


@pytest.fixture(scope="module")
def runs(data):
    """Short runs by recipe."""
    corpus, found = megalabel.Corpus.open(data), {}
    for name, knobs in SHORT.items():
        found[name] = data.parent / name
        megalabel.train(get(name)(corpus, **knobs), found[name], quiet=True)
    return found


@pytest.fixture(scope="module")
def page(runs, data):
    """The page on all runs."""
    from megalabel.models.base import load
    from megalabel.reporting.build import report_on
    from megalabel.reporting.page import html
    from megalabel.reporting.ranking import of_model

    corpus = megalabel.Corpus.open(data)
    return html(report_on([of_model(run, load(run), corpus, corpus.test) for run in runs.values()]))


def headings(page, level="h3"):
    return re.findall(rf"<{level}[^>]*>([^<]*)</{level}>", page)


def csv_files(page):
    found = re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8;base64,([^"]*)"', page)
    return [(name, list(csv.DictReader(io.StringIO(base64.b64decode(part).decode())))) for name, part in found]


def test_a_page_has_what_each_run_has_and_no_more(page):
    assert headings(page, "h2") == ["Metrics", "Comparison", *SHORT]
    of_runs = re.split(r'<h2 id="part-\d">', page)[1:]
    sections = dict(zip(SHORT, map(headings, of_runs), strict=True))
    blocks = {name: headings(part, "h4") for name, part in zip(SHORT, of_runs, strict=True)}
    assert all("Weakest spots" in part and "Label frequency" in part for part in sections.values())
    assert "Inside the model" not in sections["linear"] and "Learning curves" not in blocks["linear"]
    assert "Shortlist recall and precision by level" in blocks["cascadexml"]
    assert "Connections of the sparse layer" in blocks["spartex"]
    for name in ("cascadexml", "spartex"):
        assert {"Learning curves", "Memory along the training", "Time by phase"} <= set(blocks[name])
    assert page.count("<svg") == page.count("</svg>") == page.count("<figure>")


def test_a_page_asks_for_nothing_and_names_cannot_break_it(page):
    addresses = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^")\s>]+)', page)
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in addresses if address.startswith("#")} <= set(ids)


def test_the_files_hold_the_numbers_of_evaluate(page, runs, data):
    files = csv_files(page)
    rows = next(rows for name, rows in files if name == "metrics.csv")
    corpus = megalabel.Corpus.open(data)
    for name, run in runs.items():
        expected = megalabel.evaluate(megalabel.load(run), corpus)
        shown = {row["metric"]: float(row["percent"]) for row in rows if row["run"] == name}
        for metric in ("P@1", "P@5", "PSP@5", "nDCG@5"):
            assert shown[metric] == pytest.approx(expected[metric], abs=0.2)  # beams are wider than in evaluate
    pairs = [rows for name, rows in files if name == "confusions.csv"]
    assert pairs and all(int(row["texts"]) >= int(row["the other way"]) for row in pairs[0])
    assert [name for name, rows in files if not rows] == []


def test_the_same_run_gives_the_same_page(command, runs, tmp_path):
    for name in ("a.html", "b.html"):
        status, out, err = command("report", runs["linear"], "-o", tmp_path / name)
        assert status == 0, err
        assert out.startswith(str(tmp_path / name))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").stat().st_size < 1_000_000


def test_without_a_file_the_page_is_in_the_run_folder(command, runs):
    assert command("report", runs["linear"] / "model")[0] == 0
    assert (runs["linear"] / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert megalabel.load(runs["linear"]).label_texts


def test_stored_predictions_are_reported_as_the_run_that_made_them(command, runs, data, tmp_path):
    test = data / "test.jsonl"
    for name in ("p.npz", "p.jsonl"):
        assert command("predict", runs["linear"], test, "-k", 10, "-o", tmp_path / name)[0] == 0
        status, out, err = command("report", "--predictions", tmp_path / name, "--data", data, "--text")
        assert status == 0, err
        own = command("report", runs["linear"], "--text")[1]
        row = [line.split() for line in out.splitlines() if line.startswith(name)][1]
        assert row[1:] == next(line.split() for line in own.splitlines()[1:] if line.startswith("linear"))[1:]
        assert "Calibration of the first" in out and "Learning curves" not in out
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    for i, line in enumerate(lines):  # a mixture, with fewer labels in some rows
        line |= {"score_type": "mixture", "labels": line["labels"][: 10 - i % 3]}
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    alone = tmp_path / "alone.jsonl"
    alone.write_bytes(test.read_bytes())
    status, out, err = command("report", "--predictions", tmp_path / "m.jsonl", "--data", alone, "--text")
    assert status == 0, err  # a test file alone: there are no training frequencies
    assert "Calibration of the first" in out and "PSP" not in out and "by label frequency" not in out


def test_texts_are_drawn_from_many(command, runs):
    status, out, err = command("report", runs["linear"], "--text", "--max-texts", 40)
    assert status == 0 and "measured on 40 texts" in out and "40 of 100 texts are measured" in err


def test_a_report_says_what_it_cannot_do(command, runs, data, tmp_path):
    lines = tmp_path / "p.npz"
    assert command("predict", runs["linear"], data / "test.jsonl", "-o", lines)[0] == 0
    other = tmp_path / "other"
    convert(planted(seed=5), other, "jsonl")
    elsewhere = tmp_path / "elsewhere"
    megalabel.train(get("linear")(megalabel.Corpus.open(other), **SHORT["linear"]), elsewhere, quiet=True)
    wrong = [
        ([], "a run folder"),
        (["--predictions", lines], "--data"),
        (["--predictions", tmp_path / "none.npz", "--data", data], "does not exist"),
        ([runs["linear"], runs["spartex"]], "-o FILE"),
        ([runs["linear"], elsewhere, "-o", tmp_path / "x.html"], "--data DATA"),
        ([runs["linear"], "-o", tmp_path], "folder"),
        ([runs["linear"], "-o", tmp_path / "x.pdf"], ".html"),
        ([runs["linear"], "--text", "-o", tmp_path / "x.html"], "one of them"),
        ([runs["linear"], runs["linear"], "--text"], "twice"),
        ([runs["linear"], "--text", "--max-texts", 0], "--max-texts"),
        ([tmp_path / "none"], "no such folder"),
        ([data], "not a run"),
    ]
    for arguments, said in wrong:
        status, _, err = command("report", *arguments)
        assert (status, said in err, "Traceback" in err) == (2, True, False), (arguments, err)
    assert not list(tmp_path.glob("x.*"))


def test_without_matplotlib_the_text_is_left(command, runs, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    status, _, err = command("report", runs["linear"])
    assert status == 2 and "megalabel[report]" in err
    assert command("report", runs["linear"], "--text")[0] == 0


def test_a_run_records_the_seconds_of_its_phases(runs):
    for name, phases in (("linear", {"solving trees"}), ("spartex", {"training", "validating", "calibrating"})):
        found = json.loads((runs[name] / "recipe.json").read_text())["phases"]
        assert phases <= set(found) and all(seconds >= 0 for seconds in found.values())
