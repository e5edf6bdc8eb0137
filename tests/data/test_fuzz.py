"""Mutated data sets: nothing but megalabel's errors, no hang, bounded memory, and no row lost."""

import json

import pytest
from support.reader_fuzz import faults, texts_of
from support.reader_inputs import TEXTS, mutated, valid

from megalabel.data.check import check
from megalabel.data.corpus import Corpus


@pytest.mark.parametrize("format", sorted(valid()))
def test_what_is_mutated_is_valid(tmp_path, format):
    for name, data in valid()[format].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    corpus = Corpus.open(tmp_path)
    assert check(tmp_path).ok
    assert len(corpus.train) == len(TEXTS) and corpus.n_labels >= 4 and corpus.train.labels.nnz == 7
    assert corpus.train.features is not None or "cat" in corpus.train.texts[0]


def test_mutations_differ_and_repeat():
    base = valid()
    made = [mutated(base, seed) for seed in range(50)]
    assert made == [mutated(base, seed) for seed in range(50)]
    assert len({json.dumps({n: d.hex() for n, d in m.files.items()}) for m in made}) > 45


def test_the_other_parser_reads_json_documents(tmp_path):
    file = tmp_path / "train.json"
    file.write_text('{"text": "a"}\n\n{"text":\n"b"}')
    assert texts_of(file) == ["a", "b"]


def test_a_few_mutations():
    report = faults(range(150))
    assert report.faults == []
    assert sum(report.read.values()) + sum(report.refused.values()) == 150


@pytest.mark.slow
def test_two_thousand_mutations():
    report = faults(range(1000, 3000))
    assert report.faults == []
    assert len(report.read) == len(valid()) and sum(report.read.values()) > 200
