"""`megalabel distill`: a run becomes a small linear model, which is exported and asked in the runtime."""

import json

import pytest

import megalabel
from megalabel.recipes.linear import linear
from megalabel.runtime import load

NAMES = ["cat", "cow", "dog", "hen", "pig"]
TEXTS = [
    f"the {a} and the {b} meet the {a} number {i % 7}"
    for i in range(60)
    for a, b in [(NAMES[i % 5], NAMES[i % 3])]
]
LABELS = [[NAMES[i % 5], NAMES[i % 3]] for i in range(60)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distill")
    lines = [json.dumps({"text": text, "labels": labels}) for text, labels in zip(TEXTS, LABELS, strict=True)]
    for side in ("train", "test"):
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / f"{side}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    corpus = megalabel.Corpus.open(folder / "data")
    values = {"trees": 2, "calibration": "no", "validation_fraction": 0.2}
    megalabel.train(linear(corpus, **values), folder / "run", quiet=True)
    return folder / "run"


def test_a_distilled_model_ranks_labels_as_its_run_does(run, tmp_path, command):
    status, _, said = command("distill", run, "--out", tmp_path / "small", "--size", 5)
    assert status == 0, said
    small, large = megalabel.load(tmp_path / "small"), megalabel.load(run)
    texts = [f"the {name} and the {name}" for name in NAMES]
    assert (
        [row[0][0] for row in small.predict(texts, 1)] == [row[0][0] for row in large.predict(texts, 1)] == NAMES
    )
    status, _, said = command("export", tmp_path / "small", "-o", tmp_path / "small.mlr")
    assert status == 0, said
    assert [row[0][0] for row in load(str(tmp_path / "small.mlr")).predict(texts, k=1)] == NAMES
