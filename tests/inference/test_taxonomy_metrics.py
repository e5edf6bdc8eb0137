"""Evaluation by URI and along a taxonomy: of models, of stored predictions, and by the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.animals import WORDS

import megalabel
from megalabel.errors import DataError
from megalabel.inference.stored import evaluate_predictions
from megalabel.recipes import get

NAMES = sorted(WORDS)
RECORDS = {name: {"uri": f"http://e.org/{name}", "names": {"xx": name.upper()}} for name in NAMES}
PAIRS = [("pet", "cat"), ("pet", "dog"), ("cow", "horse"), ("bee", "ant"), ("bee", "cow")]


@pytest.fixture(scope="module")
def described(base, tmp_path_factory):
    """A run on the animals with metadata beside the data."""
    folder = tmp_path_factory.mktemp("described")
    for name in ("train.jsonl", "test.jsonl"):
        (folder / name).write_text((base / name).read_text())
    lines = [json.dumps({"label": name, **record}) for name, record in RECORDS.items()]
    (folder / "label_metadata.jsonl").write_text("\n".join(lines))
    (folder / "taxonomy.tsv").write_text("".join(f"{parent}\t{child}\n" for parent, child in PAIRS))
    corpus, out = megalabel.Corpus.open(folder), folder / "run"
    trained = megalabel.train(get("linear")(corpus, trees=1), out=out, quiet=True)
    return corpus, out, trained


def test_training_keeps_the_metadata_of_the_data(described):
    corpus, out, trained = described
    loaded = megalabel.load(out)
    for i in range(len(NAMES)):
        assert trained.metadata[i] == loaded.metadata[i] == corpus.metadata[i] != {}


def test_a_model_with_a_taxonomy_is_measured_along_it(described, linear, base):
    corpus, _, trained = described
    found = megalabel.evaluate(trained, corpus, k=[1, 3], say=print)
    ids = trained.topk(list(corpus.test.texts), 1).ids[:, 0]
    graph = corpus.metadata.taxonomy
    sets = [{i, *graph.ancestors(np.array([i])).indices.tolist()} for i in range(8)]
    truth = corpus.test.labels.indices
    hits = sum(len(sets[a] & sets[b]) for a, b in zip(ids, truth, strict=True))
    assert found["hP@1"] == pytest.approx(100 * hits / sum(len(sets[i]) for i in ids))
    assert found["hR@1"] == pytest.approx(100 * hits / sum(len(sets[i]) for i in truth))
    of_data = megalabel.evaluate(linear, corpus, k=[1], say=print)  # a model without metadata
    assert of_data["hF1@1"] == pytest.approx(
        megalabel.evaluate(linear, corpus, k=[1], taxonomy=graph, say=print)["hF1@1"]
    )
    assert "hF1@1" not in megalabel.evaluate(linear, megalabel.Corpus.open(base), k=[1], say=print)


def test_labels_are_matched_by_uri_where_both_sides_have_them(described):
    corpus, _, trained = described
    wanted = megalabel.evaluate(trained, corpus, k=[1, 3], say=print)
    order = np.random.default_rng(0).permutation(8)
    names = [f"other {corpus.label_texts[int(i)]}" for i in order]
    same = {name: {"uri": RECORDS[name.removeprefix("other ")]["uri"]} for name in names}
    side = list(corpus.test.texts), corpus.test.labels[:, order]
    other = megalabel.Corpus.of(*side, names).with_metadata(same)
    said: list[str] = []
    found = megalabel.evaluate(trained, other, split=other.train, k=[1, 3], say=said.append)
    assert found == pytest.approx(wanted) and any("matched by URI" in line for line in said)
    made = other.with_metadata({name: {"uri": f"urn:label:{i}"} for i, name in enumerate(names)})
    with pytest.raises(DataError, match="no label"):
        megalabel.evaluate(trained, made, split=made.train, say=print)
    upper = megalabel.Corpus.of(side[0], side[1], [name.removeprefix("other ").upper() for name in names])
    assert megalabel.evaluate(trained, upper, split=upper.train, k=[1, 3], say=print) == pytest.approx(wanted)


def test_a_label_with_another_uri_is_another_label(described):
    corpus, _, trained = described
    names = list(corpus.label_texts)
    records = {name: RECORDS[name] if name != "cat" else {"uri": "http://e.org/catfish"} for name in names}
    reverse = np.arange(8)[::-1]
    other = megalabel.Corpus.of(list(corpus.test.texts), corpus.test.labels[:, reverse], names[::-1])
    said: list[str] = []
    other = other.with_metadata(records)
    megalabel.evaluate(trained, other, split=other.train, k=1, say=said.append)
    assert any("'cat'" in line and "not labels of the model" in line for line in said)


def test_stored_predictions_are_matched_by_uri_and_measured_along_a_taxonomy(described, tmp_path):
    corpus, _, trained = described
    wanted = megalabel.evaluate(trained, corpus, k=[1, 3], say=print)
    for language in (None, "xx"):
        found = trained.predict(list(corpus.test.texts), 3, language=language, probabilities=False)
        found.save(tmp_path / "p.jsonl")
        measured = evaluate_predictions(tmp_path / "p.jsonl", corpus, corpus.test, k=[1, 3])
        assert {name: measured[name] for name in ("P@1", "hP@3", "hF1@3")} == pytest.approx(
            {name: wanted[name] for name in ("P@1", "hP@3", "hF1@3")}
        )


def test_the_command_takes_a_taxonomy_file(command, base, run, tmp_path):
    (tmp_path / "t.tsv").write_text("animal\tcat\nanimal\tdog\nbee\tant\n")
    status, out, err = command("evaluate", run, base, "--taxonomy", tmp_path / "t.tsv", "-o", tmp_path / "m.json")
    assert status == 0 and "'animal' is no label" in err and "hF1@5" in out
    assert 0 < json.loads((tmp_path / "m.json").read_text())["hF1@1"] <= 100
    (tmp_path / "t.tsv").write_text("cat\tdog\ndog\tcat\n")
    status, _, err = command("evaluate", run, base, "--taxonomy", tmp_path / "t.tsv")
    assert (status != 0 and "cat → dog" in err) or "dog → cat" in err
