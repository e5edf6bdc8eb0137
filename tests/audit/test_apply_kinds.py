"""`megalabel audit --apply` with `--kinds`, and options that it does not read."""

import json

import pytest

from megalabel.data.corpus import Corpus

TEXTS = [("red apple", ["fruit"]), ("green pear", ["fruit", "food"]), ("old oak", ["food"])]
WRONG = {"kind": "wrong", "label": "food", "row": 2, "text": "old oak", "confidence": 0.9}
MISSING = {"kind": "missing", "label": "food", "row": 0, "text": "red apple", "confidence": 0.8}


@pytest.fixture
def files(tmp_path):
    """A data set, and findings of two kinds about it."""
    data, found = tmp_path / "data.jsonl", tmp_path / "found.jsonl"
    data.write_text("".join(json.dumps({"text": text, "labels": labels}) + "\n" for text, labels in TEXTS))
    label = list(Corpus.open(data).label_texts).index("food")
    found.write_text("".join(json.dumps({**line, "label_id": label}) + "\n" for line in (WRONG, MISSING)))
    return data, found


def labels_of(folder) -> list[set[str]]:
    corpus = Corpus.open(folder)
    return [{corpus.label_texts[int(i)] for i in row.indices} for row in corpus.train.labels]


@pytest.mark.parametrize(
    ("kinds", "first", "last", "said"),
    [
        (None, {"fruit", "food"}, set(), "2 findings applied"),
        ("wrong", {"fruit"}, set(), "1 finding applied, 1 of other kinds left out"),
        ("missing, synonym", {"fruit", "food"}, {"food"}, "1 finding applied, 1 of other kinds left out"),
    ],
)
def test_only_findings_of_the_kinds_are_applied(files, tmp_path, command, kinds, first, last, said):
    data, found = files
    chosen = [] if kinds is None else ["--kinds", kinds]
    status, out, err = command("audit", data, "--apply", found, "-o", tmp_path / "copy", *chosen)
    assert status == 0 and said in out, err
    assert labels_of(tmp_path / "copy") == [first, {"fruit", "food"}, last]
    assert labels_of(data)[0] == {"fruit"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--kinds", "synonym"], "wrong, missing"), (["--kinds", "odd"], "odd"), (["--kinds", ""], "--kinds"),
        (["--most", "3"], "--most"), (["--folds", "3"], "--folds"), (["--seed", "0"], "--seed"),
        (["--threads", "1"], "--threads"),
    ],
)  # fmt: skip
def test_what_apply_does_not_read_is_refused(files, tmp_path, command, options, named):
    data, found = files
    status, _, err = command("audit", data, "--apply", found, "-o", tmp_path / "copy", *options)
    assert status == 2 and named in err and err.strip().count("\n") == 0, err
    assert not (tmp_path / "copy").exists()


def test_a_format_of_a_copy_without_a_copy_is_refused(files, command):
    status, _, err = command("audit", files[0], "--to", "csv")
    assert status == 2 and "--apply" in err and err.strip().count("\n") == 0, err
