"""Label metadata of models: saved and passed on, in every answer, for naming labels, and damaged files."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file
from support.manifests import edited
from untrained import untrained

import megalabel
from megalabel.data.metadata_records import metadata_of
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.inference.predictor import Predictor
from megalabel.inputs.chunks import Chunking
from megalabel.models.chunked import ChunkedClassifier
from megalabel.models.ensemble import Ensemble
from megalabel.models.metadata_file import FILE

NAMES = ["animal", "cat", "dog", "rock", "tabby"]
RECORDS = {
    "animal": {"notation": "59", "names": {"fi": "eläin"}},
    "cat": {
        "uri": "http://e.org/cat", "notation": "599.75", "names": {"fi": "kissa", "en": "cat"},
        "alternative_names": {"en": ["house cat"]}, "parents": ["animal"],
    },
    "dog": {"uri": "http://e.org/dog", "alternative_names": ["hound"], "parents": ["animal"]},
    "tabby": {"parents": ["cat"]},
}  # fmt: skip
TEXTS = ["a b", "c d a"]


@pytest.fixture
def model():
    found = untrained(NAMES)
    found.metadata = metadata_of(NAMES, RECORDS)
    return found


def known(model) -> list[dict[str, object]]:
    return [model.metadata[i] for i in range(len(model.label_texts))]


@pytest.mark.parametrize("around", ["model", "ensemble", "chunked", "extended", "relabeled"])
def test_metadata_are_saved_once_and_loaded_with_every_kind_of_model(model, around, tmp_path):
    wrapped = {
        "model": lambda: model,
        "ensemble": lambda: Ensemble([untrained(NAMES), model]),
        "chunked": lambda: ChunkedClassifier(model, Chunking(2, "words")),
        "extended": lambda: model.with_labels(["lynx"], texts=TEXTS),
        "relabeled": lambda: model.rename_labels({"rock": "stone"}),
    }[around]()
    wrapped.save(tmp_path / "m")
    back = megalabel.load(tmp_path / "m")
    assert known(back) == known(wrapped) and back.metadata.languages == ["en", "fi"]
    assert known(back)[:4] == known(model)[:4]
    files = [path for path in (tmp_path / "m").rglob(FILE)]
    assert len(files) == (2 if around in ("extended", "relabeled") else 1)
    back.save(tmp_path / "again")
    assert known(megalabel.load(tmp_path / "again")) == known(wrapped)


def test_models_without_metadata_write_no_file(tmp_path):
    untrained(NAMES).save(tmp_path / "m")
    assert not (tmp_path / "m" / FILE).exists() and megalabel.load(tmp_path / "m").metadata is None


def test_added_labels_bring_metadata_of_their_own(model):
    more = {"kitten": {"uri": "http://e.org/kitten", "parents": ["http://e.org/cat"], "names": {"sv": "kattunge"}}}
    found = model.with_labels({"kitten": ["a"], "lynx": []}, metadata=more)
    assert known(found) == [*known(model), {**more["kitten"], "parents": [1]}, {}]
    again = found.with_labels(["puppy"], metadata={"puppy": {"parents": ["dog"]}})
    assert known(again) == [*known(found), {"parents": [2]}]
    assert known(untrained(NAMES).with_labels(["x"], metadata={"x": {"uri": "u"}}, texts=TEXTS))[5] == {"uri": "u"}
    for wrong in ({"cat": {"uri": "u"}}, {"kitten": {"url": "u"}}, {"kitten": {"parents": ["nothing"]}}):
        with pytest.raises(DataError):
            model.with_labels(["kitten"], metadata=wrong)
    with pytest.raises(DataError, match="→"):
        model.with_labels(["a", "b"], metadata={"a": {"parents": ["b"]}, "b": {"parents": ["a"]}}, texts=TEXTS)


def test_changed_labels_keep_metadata_consistent(model):
    assert known(model.without_labels(["cat"]))[3] == {"parents": [0]}  # a tabby is an animal still
    merged = model.merge_labels({"pet": ["http://e.org/cat", "hound"]})
    assert known(merged)[1]["uri"] == "http://e.org/cat" and known(merged)[3] == {"parents": [1]}
    assert merged.topk(TEXTS, 1).metadata.called(["dog", "cat", "http://e.org/dog"]) == {
        "dog": [1], "cat": [1], "http://e.org/dog": [1],
    }  # fmt: skip
    with pytest.raises(DataError, match="cat"):
        model.merge_labels({"animal": ["animal", "tabby"]})


def test_every_table_has_uris_and_notations(model, tmp_path):
    found = model.predict(TEXTS, 5)
    label = found.ids[0].tolist().index(1)
    cat = {"id": 1, "label": "cat", "uri": "http://e.org/cat", "notation": "599.75"}
    record = next(found.records())["labels"]
    assert {key: record[label][key] for key in cat} == cat
    assert "uri" not in record[found.ids[0].tolist().index(3)]
    found.save(tmp_path / "p.csv.gz")
    lines = gzip.open(tmp_path / "p.csv.gz", "rt").read().splitlines()
    assert lines[0] == "text,id,label,score,uri,notation" and lines[1 + label].endswith(",http://e.org/cat,599.75")
    found.save(tmp_path / "p.annif")
    rows = [line.split("\t") for line in (tmp_path / "p.annif").read_text().splitlines()]
    assert rows[label][:3] == ["<http://e.org/cat>", "cat", "599.75"]
    assert [row[:-1] for row in rows[:5] if "rock" in row] == [["rock"]]
    found.save(tmp_path / "p.parquet")
    row = pq.read_table(tmp_path / "p.parquet").to_pylist()[0]
    assert row["uris"][label] == "http://e.org/cat" and row["notations"][label] == "599.75"
    table = found.to_pandas()
    assert list(table.columns[4:]) == ["uri", "notation"] and table.uri[label] == "http://e.org/cat"
    assert next(model.predict_iter(TEXTS))["labels"][label]["uri"] == "http://e.org/cat"
    assert found[:1].metadata is found.metadata


def test_a_predictor_adds_uris_if_asked(model, tmp_path):
    model.save(tmp_path / "m")
    found = Predictor(tmp_path / "m", k=5, uris=True)({"text": np.array(TEXTS, object)})
    assert found["uris"][0][found["labels"][0].tolist().index("cat")] == "http://e.org/cat"
    untrained(NAMES).save(tmp_path / "plain")
    with pytest.raises(SettingError, match="URIs"):
        _ = Predictor(tmp_path / "plain", uris=True).model


def test_labels_are_named_by_uri_and_other_names_wherever_they_are_named(model):
    for name in ("<http://e.org/cat>", "599.75", "kissa", "house cat"):
        assert model.predict(TEXTS, allow=[name]).ids.tolist() == [[1] + [-1] * 4] * 2
        assert 1 not in model.predict(TEXTS, 5, deny=[[name], []]).ids[0]
    model.learn_pairs(megalabel.Corpus.of(TEXTS, [["cat", "dog"], ["rock"]], NAMES))
    assert 2 not in model.predict(TEXTS, 5, given=[["hound"], []]).ids[0]
    assert model.explain("a b", "kissa").name == "cat"
    with pytest.raises(SettingError):
        model.predict(TEXTS, allow=["kissa!"])


def test_answers_take_a_language_and_ancestors(model):
    plain, finnish = model.predict(TEXTS, 5), model.predict(TEXTS, 5, language="fi")
    assert plain.ids.tolist() == finnish.ids.tolist()
    assert [name for name, _ in finnish[0]] == [{"animal": "eläin", "cat": "kissa"}.get(n, n) for n, _ in plain[0]]
    added = model.predict(TEXTS, 1, ancestors="add", deny=["animal"])
    for row, (label, score) in enumerate(
        zip(model.predict(TEXTS, 1, deny=["animal"]).ids[:, 0], added, strict=True)
    ):
        wanted = {int(label), *model.metadata.taxonomy.ancestors(np.array([label])).indices} - {0}
        assert {i for i in added.ids[row].tolist() if i >= 0} == wanted and len({s for _, s in score}) == 1
    best = plain.scores[:, 2]
    assert (model.predict(TEXTS, 5, ancestors="raise", threshold=float(best.max())).scores[:, 0] >= best).all()
    assert all("animal" not in dict(row) for row in model.predict(TEXTS, 5, ancestors="collapse"))
    for options in (
        {"language": "xx"}, {"ancestors": "all"}, {"ancestors": "add", "tail": 0.5},
        {"ancestors": "add", "given": [[], []]}, {"ancestors": "add", "allow": [["cat"], None]},
    ):  # fmt: skip
        with pytest.raises(SettingError):
            model.predict(TEXTS, **options)
    with pytest.raises(SettingError, match="taxonomy"):
        untrained(NAMES).predict(TEXTS, ancestors="raise")


DAMAGED = {
    "uris_starts": lambda a: a[:-1],
    "notations_starts": lambda a: a[::-1].copy(),
    "terms": lambda a: np.full_like(a, 0xFF),
    "term_labels": lambda a: a + 5,
    "term_kinds": lambda a: a + 3,
    "term_languages": lambda a: a - 1,
    "parents": lambda a: np.array([1, 2, 4], np.int32),  # 1 below 1
    "parent_starts": lambda a: a.astype(np.int32),
    "languages": lambda a: a[:1],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_does_not_fit_is_refused(model, name, tmp_path):
    model.save(tmp_path / "m")
    file = tmp_path / "m" / FILE
    arrays = load_file(file)
    save_file({**arrays, name: DAMAGED[name](arrays[name])}, file)
    with pytest.raises(FormatError):
        megalabel.load(tmp_path / "m")
    with edited(tmp_path / "m"):
        pass
    with pytest.raises(FormatError):
        megalabel.load(tmp_path / "m")


def test_commands_add_metadata_and_use_them(command, model, tmp_path):
    plain = untrained(NAMES)
    plain.save(tmp_path / "plain")
    lines = [json.dumps({"label": label, **record}) for label, record in RECORDS.items()]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "t.tsv").write_text("animal\tcreature\ncreature\ttabby\n")
    made = command("labels", tmp_path / "plain", "--metadata", tmp_path / "m.jsonl", "-o", tmp_path / "m")
    assert made[0] == 0 and known(megalabel.load(tmp_path / "m")) == known(model)
    assert command("labels", tmp_path / "m")[1].splitlines()[1] == "1\tcat\thttp://e.org/cat\t599.75"
    status, _, err = command("labels", tmp_path / "m", "--taxonomy", tmp_path / "t.tsv", "-o", tmp_path / "t")
    assert status == 0 and "creature" in err and megalabel.load(tmp_path / "t").metadata[4] == {"parents": [0]}
    (tmp_path / "x.txt").write_text("a b\n")
    options = ["--language", "fi", "--ancestors", "add", "-k", 5]
    status, out, _ = command("predict", tmp_path / "m", tmp_path / "x.txt", *options)
    assert status == 0 and {label["label"] for label in json.loads(out)["labels"]} >= {"eläin", "kissa"}
    assert command("predict", tmp_path / "m", tmp_path / "x.txt", "--ancestors", "up")[0] != 0
