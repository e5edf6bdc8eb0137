"""Measuring on labeled texts that are not the data set of training: matched by name, counted and said."""

import json
import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
from untrained import untrained

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.data.test_side import open_to_measure
from megalabel.errors import DataError, SettingError

PAIRS = [("purr whisker", "cat"), ("bark leash", "dog"), ("hive honey", "bee")]


def write(file, rows):
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps({"text": text, "labels": labels}) + "\n" for text, labels in rows))
    return file


def measured(model, path, **settings):
    said = []
    corpus, split = open_to_measure(path)
    return megalabel.evaluate(model, corpus, split=split, say=said.append, **settings), said


def test_labels_in_another_order_are_matched_by_name(linear, base, tmp_path):
    lines = (base / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(reversed(lines)))
    (tmp_path / "test.jsonl").write_text((base / "test.jsonl").read_text())
    again = Corpus.open(tmp_path)
    assert again.label_texts[0] == "bee" != linear.label_texts[0]
    found, said = measured(linear, tmp_path)
    order, constants = said
    assert order == f"the labels of {tmp_path.name} are those of the model in another order: matched by name"
    assert constants.startswith("propensity constants A = 0.55, B = 1.5 (the usual values")
    assert found == megalabel.evaluate(linear, Corpus.open(base))
    assert megalabel.evaluate(linear, again) == found  # without a warning: the metrics are the same


def test_a_test_side_of_pecos_alone_is_measured(linear, base, tmp_path):
    from megalabel.data.convert import convert

    convert(base, tmp_path / "new", to="pecos")
    for name in ("X.trn.txt", "Y.trn.npz"):
        (tmp_path / "new" / name).unlink()
    assert measured(linear, tmp_path / "new")[0] == megalabel.evaluate(linear, Corpus.open(base))


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("alone", ["file", "folder"])
def test_a_test_side_alone_is_measured(linear, base, tmp_path, suffix, alone):
    from megalabel.data.convert import convert

    convert(base, tmp_path / "new", to=suffix)
    for name in (f"train.{suffix}", "labels.txt"):
        (tmp_path / "new" / name).unlink()
    whole = megalabel.evaluate(linear, Corpus.open(base))
    place = tmp_path / "new"
    found, _ = measured(linear, place / f"test.{suffix}" if alone == "file" else place)
    assert found == whole  # the model knows the counts of its training labels, so PSP is there too


def test_raw_test_files_alone_are_measured_with_their_own_filter(linear, tmp_path):
    names = list(linear.label_texts)
    (tmp_path / "tst_X.txt").write_text("purr whisker\nbark leash\n")
    (tmp_path / "tst_X_Y.txt").write_text(f"{names.index('cat')}:1\n{names.index('dog')}:1\n")
    (tmp_path / "Y.txt").write_text("\n".join(names) + "\n")
    assert measured(linear, tmp_path, k=1)[0]["P@1"] == 100
    (tmp_path / "trn_filter_labels.txt").write_text(f"0 {names.index('cat')}\n1 {names.index('dog')}\n")
    assert measured(linear, tmp_path, k=1)[0]["P@1"] == 100
    (tmp_path / "tst_filter_labels.txt").write_text(f"0 {names.index('cat')}\n")
    assert measured(linear, tmp_path, k=1)[0]["P@1"] == 50


def test_additional_and_missing_labels_are_counted_and_said(linear, tmp_path):
    rows = [(text, [label]) for text, label in PAIRS] + [("purr", ["cat", "pet"]), ("roar", ["lion"])]
    found, said = measured(linear, write(tmp_path / "new" / "test.jsonl", rows), k=(1, 3))
    assert found["P@1"] == pytest.approx(80.0)
    assert found["R@1"] == pytest.approx(100 * 3.5 / 5)
    assert said[0] == "2 of 5 labels of test are not labels of the model ('pet', 'lion')"
    assert said[1].startswith("2 of 6 true labels are not labels of the model; recall and nDCG count them")
    assert said[2] == "5 of 8 labels of the model are not labels of test"
    corpus, split = open_to_measure(tmp_path / "new")
    with pytest.warns(UserWarning, match="2 of 6 true labels"):
        megalabel.evaluate(linear, corpus, split=split)


def test_a_label_that_the_training_side_of_new_data_lacks_is_matched_too(linear, tmp_path):
    write(tmp_path / "train.jsonl", [("purr", ["cat"])])
    write(tmp_path / "test.jsonl", [("purr whisker", ["cat"]), ("hive honey", ["bee"])])
    corpus = Corpus.open(tmp_path)
    assert list(corpus.test.unseen.names) == ["bee"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no true label is lost, so nothing affects the metrics
        found = megalabel.evaluate(linear, corpus, k=1)
    assert (found["P@1"], found["R@1"]) == (100, 100)


def test_no_label_in_common_is_refused_with_both_lists(linear, tmp_path):
    for labels in (["Cat"], ["17"], [3]):
        write(tmp_path / "new" / "test.jsonl", [("purr", labels)])
        with pytest.raises(
            DataError, match=r"(?s)no label of .*one of the model's \('.*put the list of their names"
        ):
            measured(linear, tmp_path / "new")
    write(tmp_path / "new" / "test.jsonl", [("purr", ["lion"]), ("x", [])])
    (tmp_path / "new" / "labels.txt").write_text("lion\ncat\n")
    with pytest.raises(DataError, match="none of the 1 true labels of the texts is a label of the model"):
        measured(linear, tmp_path / "new")


def test_a_name_of_several_labels_is_refused_where_it_matters():
    model = untrained(["ant", "mercury", "mercury", "bee"])
    for label, known in (("mercury", False), ("bee", True)):
        data = Corpus.of(["a"], [["bee"]], ["bee", "mercury"], test_texts=["a b"], test_labels=[[label]])
        if known:
            with pytest.warns(UserWarning, match="PSP"):
                assert "P@1" in megalabel.evaluate(model, data)
        else:
            with pytest.raises(DataError, match="several labels have the name 'mercury'"):
                megalabel.evaluate(model, data)
    same = Corpus.of(["a"] * 3, [[1]] * 3, list(model.label_texts), test_texts=["a b"], test_labels=[[2]])
    assert "PSP@1" in megalabel.evaluate(model, same)  # the same list in the same order: columns are known


def test_filter_pairs_follow_their_labels():
    names = ["w", "x", "y", "z"]
    model, texts = untrained(names), ["a", "b c", "d"]
    ranked = model.topk(texts, 4).ids
    order = random.Random(3).sample(range(4), 4)
    place = {column: i for i, column in enumerate(order)}
    data = Corpus.of(
        ["a", "b", "c", "d"],
        [[0], [1], [2], [3]],
        [names[i] for i in order],
        test_texts=texts,
        test_labels=[[place[int(row[1])]] for row in ranked],
        test_filter=np.array([[i, place[int(row[0])]] for i, row in enumerate(ranked)]),
    )
    assert megalabel.evaluate(model, data, k=1)["P@1"] == 100


def test_psp_comes_from_the_counts_of_the_run_or_is_left_out(linear, base, tmp_path):
    write(tmp_path / "train.jsonl", [("x", ["cat"])] * 50 + [("y", [name]) for name in linear.label_texts])
    (tmp_path / "test.jsonl").write_text((base / "test.jsonl").read_text())
    whole = megalabel.evaluate(linear, Corpus.open(base))
    assert measured(linear, tmp_path)[0]["PSP@1"] == whole["PSP@1"]
    forgetful = untrained(list(linear.label_texts))
    assert forgetful.trained_on is None
    found, said = measured(forgetful, base / "test.jsonl")
    assert "P@1" in found
    assert not any(name.startswith("PS") for name in found)
    assert any(line.startswith("PSP and PSnDCG are left out: the model does not know") for line in said)
    assert "PSP@1" in measured(forgetful, base)[0]
    two = Corpus.of(["a", "b"], [["x"], ["y"]], test_texts=["a"], test_labels=[["x"]])
    with pytest.warns(UserWarning, match="2 training texts, and propensities need 3"):
        assert "PSP@1" not in megalabel.evaluate(untrained(["x", "y"]), two)


def test_the_constants_of_the_training_set_are_taken_where_new_data_has_none(linear, base):
    corpus = Corpus.open(base)
    linear_on = replace(linear.trained_on, name="LF-Amazon-131K")
    before = linear.trained_on
    try:
        linear.trained_on = linear_on
        named = megalabel.evaluate(linear, corpus)
        assert named == megalabel.evaluate(linear, corpus, a=0.6, b=2.6)
    finally:
        linear.trained_on = before


def test_a_model_keeps_its_counts(linear, base, tmp_path):
    linear.save(tmp_path / "copy")
    counts = megalabel.load(tmp_path / "copy").trained_on
    assert (counts.name, counts.n_texts, counts.counts.sum()) == ("base", 120, 120)
    np.testing.assert_array_equal(counts.counts, linear.trained_on.counts)


def test_depths_beyond_the_labels_cost_nothing(linear, base):
    corpus = Corpus.open(base)
    found = megalabel.evaluate(linear, corpus, k=(1, 8, 10**9))
    assert found["P@1000000000"] == pytest.approx(found["P@8"] * 8 / 10**9)
    for name in ("R", "nDCG", "PSP", "PSnDCG", "coverage", "macro-F1"):
        assert found[f"{name}@1000000000"] == found[f"{name}@8"]
    assert megalabel.evaluate(linear, corpus, k=(1, 8))["P@8"] == found["P@8"]


def test_more_true_labels_than_the_model_has_are_counted_exactly():
    names = ["w", "x", "y", "z"]
    model = untrained(names)
    rows = [[*names, "a", "b", "c"]]
    data = Corpus.of(["a", "b", "c", "d"], [[n] for n in names], test_texts=["a"], test_labels=rows)
    found = megalabel.evaluate(model, data, k=(5, 10, 50))
    ideal = {k: sum(1 / np.log2(j + 1) for j in range(1, min(k, 7) + 1)) for k in (5, 10, 50)}
    gain = sum(1 / np.log2(j + 1) for j in range(1, 5))
    for k, best in ideal.items():
        assert found[f"nDCG@{k}"] == pytest.approx(100 * gain / best)
        assert found[f"P@{k}"] == pytest.approx(400 / k)


@pytest.mark.parametrize(("a", "b"), [(1e308, None), (1e308, 1e308), (1e5, 0.1)])
def test_constants_beyond_the_largest_number_are_refused(linear, base, a, b):
    with pytest.raises(SettingError, match="propensities are beyond the largest number"):
        megalabel.evaluate(linear, Corpus.open(base), a=a, b=b)


@pytest.mark.parametrize(
    "cell, labels, said",
    [
        ('"cat,dog"', ["cat", "dog"], "separated by `,`"),
        ("cat dog", ["cat", "dog"], "separated by the space"),
        ('"cat, zebra"', ["cat", "zebra"], ""),
        ("cat/dog", ["cat/dog"], ""),
        ("cat|dog", ["cat", "dog"], ""),
    ],
)
def test_the_labels_of_the_model_tell_those_of_a_cell_apart(tmp_path, cell, labels, said):
    file = tmp_path / "new.csv"
    file.write_text(f"text,labels\npurr bark,{cell}\n")
    corpus, split = open_to_measure(file, known=["cat", "dog", "bee"])
    assert sorted(corpus.label_texts) == labels and split.labels.nnz == len(labels)
    assert said in " ".join(str(finding) for finding in corpus.findings)
    file.write_text('text,labels\nnerve,"Receptors, Cell Surface"\n')
    corpus, _ = open_to_measure(file, known=["Receptors, Cell Surface", "Receptors"])
    assert list(corpus.label_texts) == ["Receptors, Cell Surface"]
    assert list(open_to_measure(file)[0].label_texts) == ["Receptors, Cell Surface"]


def test_a_csv_file_with_commas_is_measured_by_the_labels_of_the_run(command, run, tmp_path):
    (tmp_path / "new.csv").write_text('text;labels\npurr whisker;"cat,dog"\nbark leash;dog\n')
    status, out, err = command("evaluate", run, tmp_path / "new.csv")
    assert status == 0 and "100.00" in out and "lacks" not in err
    assert "the cells are separated by `;`" in err and "labels are taken to be separated by `,`" in err


def test_bags_of_words_for_a_model_of_texts_are_called_so(command, run, tmp_path):
    (tmp_path / "bow.txt").write_text("3 4 2\n1 3:1\n0 2:1\n1 1:1\n")
    status, _, err = command("evaluate", run, tmp_path / "bow.txt")
    assert status == 2 and "holds bags of words, not texts" in err
