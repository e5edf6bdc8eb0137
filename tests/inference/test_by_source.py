"""Metrics by source, in Python and by `megalabel evaluate --by-source`; training without a source."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.animals import animals

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.data.subsets import rows_of
from megalabel.data.texts import Texts
from megalabel.errors import DataError
from megalabel.inference.by_source import by_source_table, evaluate_by_source
from megalabel.inference.evaluate import evaluate


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The animals, every third text from `web`, the others from `books`."""
    folder = animals(tmp_path_factory.mktemp("by-source") / "base")
    for side in ("train", "test"):
        records = [json.loads(line) for line in (folder / f"{side}.jsonl").read_text().splitlines()]
        for i, record in enumerate(records):
            record["source"] = "web" if i % 3 == 0 else "books"
        (folder / f"{side}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_each_source_has_the_metrics_of_its_texts(linear, data):
    corpus = Corpus.open(data)
    found = evaluate_by_source(linear, corpus)
    assert list(found) == ["books", "web"]
    rows = np.arange(0, len(corpus.test), 3)
    alone = evaluate(linear, corpus, split=rows_of(corpus.test, rows))
    assert found["web"] == {"texts": len(rows), **alone}
    lines = by_source_table(found).splitlines()
    assert lines[0].split()[:2] == ["source", "texts"]
    assert lines[2].split()[0] == "books"


def test_texts_without_sources_are_refused(linear, base):
    with pytest.raises(DataError, match="no sources"):
        evaluate_by_source(linear, Corpus.open(base))


def test_a_text_without_a_source_is_its_own_group(linear, data):
    corpus = Corpus.open(data)
    sources = Texts.from_strings(["", *list(corpus.test.sources)[1:]])
    found = evaluate_by_source(linear, replace(corpus, test=replace(corpus.test, sources=sources)))
    assert "(no source)" in by_source_table(found)


def test_the_command_prints_a_second_table(command, run, data, base):
    status, out, _ = command("evaluate", run, data, "--by-source")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["books", "web"]
    status, _, err = command("evaluate", run, base, "--by-source")
    assert status != 0
    assert "no sources" in err


@pytest.mark.parametrize("suffix", ["jsonl", "npz"])
def test_stored_predictions_have_the_table_of_their_model(suffix, command, run, data, base, tmp_path):
    file = tmp_path / f"p.{suffix}"
    assert command("predict", run, data / "test.jsonl", "-o", file)[0] == 0
    of_model = command("evaluate", run, data, "--by-source", "-k", "1,3")[1]
    status, out, err = command("evaluate", file, data, "--by-source", "-k", "1,3")
    assert status == 0, err
    assert out.splitlines()[-4:] == of_model.splitlines()[-4:]
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["books", "web"]
    status, _, err = command("evaluate", file, base, "--by-source")
    assert status != 0
    assert "no sources" in err


def test_a_run_without_a_source_records_it(command, data, tmp_path):
    status, _, err = command("train", "linear", data, "--out", tmp_path / "r", "--leave-out-source", "web")
    assert status == 0, err
    facts = json.loads((tmp_path / "r" / "recipe.json").read_text())["data"]
    assert facts["opened"]["leave_out_source"] == "web"
    assert facts["texts"] == 80
    model = megalabel.load(tmp_path / "r")
    assert len(model.label_texts) == 8
    assert command("evaluate", tmp_path / "r", data, "--by-source")[0] == 0
    assert command("evaluate", tmp_path / "r")[0] == 0
