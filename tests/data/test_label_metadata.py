"""Label metadata: vocabularies, files beside the data, conversions, labels that are named, removed and merged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from megalabel.data.convert import WRITTEN, convert
from megalabel.data.corpus import Corpus
from megalabel.data.label_lookup import labels_named
from megalabel.data.metadata_records import metadata_of
from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError

SKOS = """
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix e: <http://e.org/> .
e:animal a skos:Concept ; skos:prefLabel "animal"@en, "eläin"@fi ; skos:notation "59" ; skos:narrower e:cat .
e:cat a skos:Concept ; skos:prefLabel "cat"@en, "kissa"@fi, "Katze"@de-AT ;
  skos:altLabel "house cat"@en, "puss"@en ; skos:hiddenLabel "catt" .
e:dog a skos:Concept ; skos:prefLabel "dog"@en ; skos:altLabel "puss"@en ; skos:broader e:animal, e:nowhere .
"""
TRAIN = (
    "purring\t<http://e.org/cat>\nbarking\t<http://e.org/dog>\nliving\t<http://e.org/animal> <http://e.org/cat>\n"
)
CAT = {
    "uri": "http://e.org/cat",
    "names": {"de-AT": "Katze", "en": "cat", "fi": "kissa"},
    "alternative_names": {"": ["catt"], "en": ["house cat", "puss"]},
    "parents": [0],
}


@pytest.fixture
def skos(tmp_path):
    pytest.importorskip("rdflib")
    folder = tmp_path / "skos"
    folder.mkdir()
    (folder / "vocab.ttl").write_text(SKOS)
    (folder / "train.tsv").write_text(TRAIN)
    return folder


def known(corpus: Corpus) -> list[dict[str, object]]:
    return [corpus.metadata[i] for i in range(corpus.n_labels)]


def test_a_skos_vocabulary_gives_all_names_notations_and_broader_labels(skos):
    corpus = Corpus.open(skos)
    assert list(corpus.label_texts) == ["animal", "cat", "dog"]
    assert known(corpus) == [
        {"uri": "http://e.org/animal", "notation": "59", "names": {"en": "animal", "fi": "eläin"}},
        CAT,
        {"uri": "http://e.org/dog", "names": {"en": "dog"}, "alternative_names": {"en": ["puss"]}, "parents": [0]},
    ]
    assert corpus.metadata.languages == ["de-AT", "en", "fi"]


def test_columns_of_csv_and_tsv_are_names_notations_and_alternative_names(tmp_path):
    (tmp_path / "train.tsv").write_text(TRAIN)
    table = "uri,notation,label_en,label_fi,alt_label_en\nhttp://e.org/cat,5,cat,kissa,house cat | puss\n"
    (tmp_path / "vocab.csv").write_text(f"{table}http://e.org/dog,,dog,,\nhttp://e.org/animal,,,eläin,\n")
    corpus = Corpus.open(tmp_path)
    assert list(corpus.label_texts) == ["cat", "dog", "eläin"]  # a name of another language before none
    assert corpus.metadata[0] == {
        "uri": "http://e.org/cat",
        "notation": "5",
        "names": {"en": "cat", "fi": "kissa"},
        "alternative_names": {"en": ["house cat", "puss"]},
    }
    (tmp_path / "vocab.csv").unlink()
    (tmp_path / "vocab.tsv").write_text(
        "<http://e.org/cat>\tcat\t5\nhttp://e.org/dog\tdog\n<http://e.org/animal>\ta\n"
    )
    assert known(Corpus.open(tmp_path))[:2] == [
        {"uri": "http://e.org/cat", "notation": "5"}, {"uri": "http://e.org/dog"},
    ]  # fmt: skip


def test_a_cycle_in_skos_is_an_error_that_an_empty_taxonomy_avoids(skos):
    (skos / "vocab.ttl").write_text(f"{SKOS}\ne:animal skos:broader e:dog .\n")
    with pytest.raises(DataError, match="dog") as caught:
        Corpus.open(skos)
    assert "taxonomy.tsv" in caught.value.next_step
    (skos / "taxonomy.tsv").write_text("")
    assert Corpus.open(skos).metadata.taxonomy is None


@pytest.mark.parametrize("to", [name for name in WRITTEN if not name.startswith(("pecos-bag", "xmlrepo"))])
def test_every_format_keeps_metadata(skos, tmp_path, to):
    corpus = Corpus.open(skos)
    convert(corpus, tmp_path / "out", to)
    back = Corpus.open(tmp_path / "out")
    assert known(back) == known(corpus) and back.metadata.languages == corpus.metadata.languages


def test_files_beside_the_data_replace_those_of_a_vocabulary(skos):
    lines = [
        {"label": "http://e.org/dog", "notation": "7", "parents": ["http://e.org/cat"]},
        {"id": 1, "label": "cat"},
    ]
    (skos / "label_metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert known(Corpus.open(skos)) == [{}, {}, {"notation": "7", "parents": [1]}]
    (skos / "taxonomy.tsv").write_text("animal\tdog\n")
    assert known(Corpus.open(skos)) == [{}, {}, {"notation": "7", "parents": [0]}]


def test_labels_that_a_file_of_other_texts_lacks_are_noted(tmp_path):
    (tmp_path / "some.jsonl").write_text('{"text": "a", "labels": ["x"]}\n')
    (tmp_path / "label_metadata.jsonl").write_text('{"label": "y", "uri": "u:y"}\n{"label": "x", "uri": "u:x"}\n')
    (tmp_path / "taxonomy.tsv").write_text("y\tz\n")
    corpus = Corpus.open(tmp_path / "some.jsonl")
    assert known(corpus) == [{"uri": "u:x"}]
    assert [finding.message.split()[0] for finding in corpus.findings if finding.notable] == ["'y'"]


@pytest.mark.parametrize(
    "line",
    [
        "[]", '{"uri": "u"}', '{"label": "cat", "url": "u"}', '{"label": "cat", "uri": 3}', '{"id": 7}',
        '{"id": 0, "label": "cat"}', '{"label": "cat", "parents": "dog"}', '{"label": "cat", "names": ["x"]}',
        '{"label": "cat", "parents": ["cat"]}', '{"label": "cat"}\n{"id": 1}', "{",
        '{"label": "cat", "uri": "u:1"}\n{"label": "dog", "uri": "u:1"}',
    ],
)  # fmt: skip
def test_records_that_do_not_fit_are_refused_with_their_file(skos, line):
    from megalabel.data.findings import Findings
    from megalabel.data.metadata_files import metadata_in

    file = skos / "records.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(DataError) as caught:
        metadata_in(file, ["animal", "cat", "dog"], None, Findings())
    assert str(file) in str(caught.value)


def test_labels_are_named_by_name_uri_notation_and_other_names(skos):
    corpus = Corpus.open(skos)
    asked = {"cat": [1], "<http://e.org/dog>": [2], "http://e.org/dog": [2], "59": [0], "kissa": [1], "catt": [1]}
    assert labels_named(corpus.label_texts, corpus.metadata, asked) == asked
    assert labels_named(corpus.label_texts, corpus.metadata, ["", "Cat", "\ud800"]) == {}
    with pytest.raises(SettingError) as caught:
        labels_named(corpus.label_texts, corpus.metadata, ["puss"])
    assert "'cat'" in caught.value.found and "'dog'" in caught.value.found
    named = labels_named(
        ["puss", "cat"], metadata_of(["puss", "cat"], {"cat": {"names": {"en": "puss"}}}), ["puss"]
    )
    assert named == {"puss": [0]}  # a name comes before other names


def test_names_in_a_language_fall_back_to_the_name(skos):
    corpus = Corpus.open(skos)
    assert list(corpus.metadata.names_in("FI", corpus.label_texts)) == ["eläin", "kissa", "dog"]
    assert list(corpus.metadata.names_in("de", corpus.label_texts)) == ["animal", "Katze", "dog"]
    for language in ("sv", "", "f", None):
        with pytest.raises(SettingError, match="language"):
            corpus.metadata.names_in(language, corpus.label_texts)


def test_merged_labels_keep_one_uri_and_stand_for_all(skos):
    corpus = Corpus.open(skos)
    old, new = list(corpus.label_texts), ["animal", "dog"]
    found = corpus.metadata.relabeled(np.array([0, 1, 1]), old, new)
    assert found.uri(1) == "http://e.org/dog" and found[1]["other_uris"] == ["http://e.org/cat"]
    asked = {"cat": [1], "kissa": [1], "http://e.org/cat": [1], "puss": [1], "http://e.org/dog": [1]}
    assert found.called(asked) == asked and found[1]["parents"] == [0]


def test_a_renamed_label_loses_the_old_name_alone(skos):
    corpus = Corpus.open(skos)
    found = corpus.metadata.relabeled(np.arange(3), list(corpus.label_texts), ["animal", "feline", "dog"])
    assert found[1] == {**CAT, "names": {"de-AT": "Katze", "fi": "kissa"}}


def test_corpora_in_memory_take_metadata():
    corpus = Corpus.of(["purring", "barking"], [["cat"], ["dog"]]).with_metadata(
        {"cat": {"uri": "u:c"}}, taxonomy=[("animal", "u:c"), ("animal", "dog"), ("cat", "dog")]
    )
    assert known(corpus) == [{"uri": "u:c"}, {"parents": [0]}]
    for records, pairs in (({"x": {}}, None), (None, [("x", "y")]), (None, [("cat", "dog"), ("dog", "cat")])):
        with pytest.raises(DataError):
            corpus.with_metadata(records, pairs)


@pytest.mark.parametrize("n_wanted", [3, 200])
def test_positions_of_texts_are_those_of_a_search_one_by_one(n_wanted):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abé"), rng.integers(0, 5))) for _ in range(400)]
    found = Texts.from_strings(texts)
    wanted = [*texts[:n_wanted], "", "abababab", "\ud800"]
    positions = found.positions(wanted)
    assert {text: at.tolist() for text, at in positions.items()} == {
        text: [i for i, other in enumerate(texts) if other == text] for text in set(wanted) & set(texts)
    }
    assert found[100:].positions([texts[150]])[texts[150]][0] == texts[100:].index(texts[150])
    assert Texts.blank(0).positions(["a", ""]) == {} and list(Texts.blank(2).positions([""])[""]) == [0, 1]
