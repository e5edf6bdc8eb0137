"""Training by several processes from the command line: one ordinary model, written by rank 0 alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from planted import planted

import megalabel
from megalabel.data.convert import convert
from megalabel.storage.tensors import load_tensors

BAG = (
    "--encoder bag --tokenizer words --max-length 16 --epochs 1 --batch-size 64 --warmup 0.1 --encoder-lr 0.002 "
    "--token-lr 0.02 --validation-fraction 0.1 --dropout 0 --token-dropout 0"
).split()
RENEE = ["renee", *BAG, *"--bias --head-lr 0.02".split()]
REFUSED = {
    "retrieval": ["retrieval"],
    "ngame": ["ngame", "--encoder", "bag", "--tokenizer", "words", "--epochs", "1"],
    "lightxml": ["lightxml", "--encoder", "bag", "--tokenizer", "words", "--epochs", "1"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "planted"
    convert(planted(61), path, "raw")
    return path


@pytest.fixture(scope="module")
def runs(ranks, folder, tmp_path_factory):
    """The run folders of one process and of two, and what two processes said."""
    out = tmp_path_factory.mktemp("runs")

    def line(recipe: list[str], name: str) -> list[str]:
        return ["train", recipe[0], str(folder), "-o", str(out / name), "--device", "cpu", *recipe[1:]]

    (alone,) = ranks.run(1, "support.rank_programs:commands", line(RENEE, "one"))
    assert alone[0][0] == 0, alone
    lines = [line(RENEE, "two"), line(RENEE, "two"), *(line(recipe, name) for name, recipe in REFUSED.items())]
    return out, ranks.run(2, "support.rank_programs:commands", *lines)


def test_two_processes_save_the_model_of_one(runs):
    out, said = runs
    assert [[status for status, _ in rank] for rank in said] == [[0, 0, 2, 2, 2]] * 2
    for part in ("encoder", "head"):
        ours, theirs = (
            load_tensors(out / run / "model" / f"{part}.safetensors", next_step="-") for run in ("two", "one")
        )
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            apart = np.abs(ours[name].numpy() - tensor.numpy())
            # Adam divides by the size of gradients, also of those that are zero but for rounding, whose weights it
            # moves by up to its learning rate, 0.02, in each of six steps. How many there are depends on the CPU.
            assert (apart > 1e-3).mean() < 1e-3, name
            assert apart.max(initial=0) < 0.2, name
    models = [megalabel.load(out / run) for run in ("two", "one")]
    texts = [f"w{i}a w{i}b noise3" for i in range(40)]
    ours, theirs = (model.topk(texts, 5) for model in models)
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-3, atol=0.02)
    assert (ours.ids[:, 0] == theirs.ids[:, 0]).mean() > 0.9
    heads = [json.loads((out / run / "model" / "manifest.json").read_text())["head"] for run in ("two", "one")]
    assert heads[0] == heads[1]


def test_rank_0_alone_writes_and_prints(runs):
    out, said = runs
    assert sorted(path.name for path in (out / "two").iterdir()) == sorted(
        path.name for path in (out / "one").iterdir()
    )
    assert "best validation" in said[0][0][1]
    assert said[1][0][1] == ""
    assert "is finished" in said[0][1][1]
    lines = [
        [json.loads(line) for line in (out / run / "log.jsonl").read_text().splitlines()] for run in ("two", "one")
    ]
    ours, theirs = ([line["loss"] for line in run if "loss" in line] for run in lines)
    assert ours == pytest.approx(theirs, rel=1e-4)
    finished = json.loads((out / "two" / "recipe.json").read_text())["finished"]
    assert finished["processes"] == 2
    assert finished["sent_mb_per_step"] > 0


def test_what_several_processes_cannot_train_is_refused_by_name(runs):
    _, said = runs
    for (_, message), found in zip(said[0][2:], ("retrieval", "InBatchHead", "LightXMLHead"), strict=True):
        assert f"{found} in a job of 2 processes" in message
