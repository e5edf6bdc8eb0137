"""Texts that are set aside for testing: which ones, what stays together, what is refused, and the command."""

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError


def corpus(rng, n=400, **more):
    texts = [f"text {i}" for i in range(n)]
    labels = [[f"l{label}" for label in rng.choice(20, rng.integers(1, 4), replace=False)] for _ in texts]
    return Corpus.of(texts, labels, **more)


def test_all_texts_keep_their_labels_weights_and_sources_on_one_side(rng):
    n = 400
    data = corpus(rng, n, weights=rng.random(n), sources=[f"s{i % 3}" for i in range(n)])
    made = data.with_test_split(0.2, seed=3)
    assert (len(made.train), len(made.test)) == (320, 80)
    before = dict(zip(data.train.texts, map(tuple, data.train.labels.toarray()), strict=True))
    for side in (made.train, made.test):
        assert all(before[text] == tuple(row) for text, row in zip(side.texts, side.labels.toarray(), strict=True))
        at = [int(text.split()[1]) for text in side.texts]
        assert at == sorted(at)
        assert np.array_equal(side.weights, data.train.weights[at])
        assert list(side.sources) == [data.train.sources[i] for i in at]
    assert sorted([*made.train.texts, *made.test.texts]) == sorted(data.train.texts)
    assert made.path is None
    assert list(made.label_texts) == list(data.label_texts)


def test_the_seed_decides_the_draw(rng):
    data = corpus(rng)
    first, again, other = (list(data.with_test_split(seed=seed).test.texts) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_equal_texts_stay_together_and_texts_without_labels_in_training(rng):
    texts = [f"text {i % 50} " if i % 2 else f"text {i % 50}" for i in range(200)] + ["nothing"] * 30
    labels = [[str(i % 7)] for i in range(200)] + [[]] * 30
    made = Corpus.of(texts, labels).with_test_split(0.3)
    sides = [{text.strip() for text in side.texts} for side in (made.train, made.test)]
    assert not sides[0] & sides[1]
    assert "nothing" not in sides[1]
    assert 60 <= len(made.test) <= 64
    assert np.diff(made.test.labels.indptr).all()


@pytest.mark.parametrize(("fraction", "sizes"), [(0.001, (1, 2)), (0.5, (2, 1)), (0.999, (2, 1))])
def test_one_text_stays_on_each_side(fraction, sizes):
    made = Corpus.of(["a", "b", "c"], [["x"], ["y"], ["x"]]).with_test_split(fraction)
    assert (len(made.test), len(made.train)) == sizes


def test_bags_of_words_are_divided_with_their_filter(tmp_path, rng):
    (tmp_path / "train.txt").write_text("4 6 3\n0 0:1 2:2\n1,2 1:1\n0 0:1 2:2\n2 5:3\n")
    made = Corpus.open(tmp_path).with_test_split(0.5)
    assert (made.train.features.shape, made.test.features.shape) == ((2, 6), (2, 6))
    both = sp.vstack([made.train.features, made.test.features])
    assert both.sum() == Corpus.open(tmp_path).train.features.sum()


@pytest.mark.parametrize(
    "asked", [{"test_fraction": 0}, {"test_fraction": 1}, {"test_fraction": "0.1"}, {"test_fraction": True},
              {"test_fraction": float("nan")}, {"seed": -1}, {"seed": 0.5}], ids=str
)  # fmt: skip
def test_values_out_of_range_are_refused(rng, asked):
    with pytest.raises(SettingError, match=next(iter(asked))):
        corpus(rng).with_test_split(**asked)


def test_data_that_cannot_be_divided_are_refused(rng):
    with pytest.raises(SettingError, match="test texts"):
        corpus(rng).with_test_split().with_test_split()
    for texts, labels in ((["a", "a "], [["x"], ["y"]]), (["a", "b"], [["x"], []])):
        with pytest.raises(DataError, match="two different texts"):
            Corpus.of(texts, labels).with_test_split()


def test_the_command_writes_the_format_of_the_data_which_trains_and_is_measured(command, tmp_path, rng):
    rows = [f"red thing {i};warm | color" if i % 2 else f"cold lake {i};blue" for i in range(80)]
    rows.append("a single word;alone")
    (tmp_path / "one.csv").write_text("\n".join(["Title;Tags", *rows]) + "\n")
    named = ("--text-field", "Title", "--labels-field", "Tags")
    status, out, err = command("data", "split", tmp_path / "one.csv", tmp_path / "two", *named)
    assert (status, err) == (0, "")
    assert "73 training and 8 test texts" in out
    assert {file.name for file in (tmp_path / "two").iterdir()} == {"train.csv", "test.csv", "labels.txt"}
    read, one = (
        Corpus.open(tmp_path / "two"),
        Corpus.open(tmp_path / "one.csv", text_field="Title", labels_field="Tags"),
    )
    assert sorted([*read.train.texts, *read.test.texts]) == sorted(one.train.texts)
    assert sorted(read.label_texts) == sorted(one.label_texts)
    status, out, err = command("data", "split", tmp_path / "two", tmp_path / "three")
    assert status == 2
    assert "8 test texts" in err
    assert not (tmp_path / "three").exists()
    for wrong in (("--test-fraction", "2"), ("--to", "xlsx"), ("--seed", "-3")):
        assert command("data", "split", tmp_path / "one.csv", tmp_path / "three", *named, *wrong)[0] == 2
    assert command("data", "split", tmp_path / "one.csv", tmp_path / "two", *named)[0] == 2


def test_labels_that_only_test_texts_have_are_counted(command, tmp_path):
    (tmp_path / "one.jsonl").write_text("".join(f'{{"text": "t{i}", "labels": ["l{i}"]}}\n' for i in range(20)))
    status, out, _ = command("data", "split", tmp_path / "one.jsonl", tmp_path / "two", "--test-fraction", "0.25")
    assert status == 0
    assert "which no model can learn: 5" in out
    assert (tmp_path / "two" / "train.jsonl").exists()
