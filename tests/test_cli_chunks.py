"""`predict` and `evaluate` in chunks, and `train chunked`, on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from planted import planted

import megalabel
from megalabel.data.convert import convert
from megalabel.data.corpus import Corpus
from megalabel.inputs.chunks import Chunking
from megalabel.models.chunked import ChunkedClassifier
from megalabel.recipes.linear import linear

PLAIN = {"token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "planted"
    convert(planted(), folder, "raw")
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "linear"
    recipe = linear(Corpus.open(folder), clusters=(4,), trees=1, validation_fraction=0.2, **PLAIN)
    megalabel.train(recipe, out, quiet=True)
    return out


def test_predict_reads_long_texts_in_chunks(command, run, tmp_path):
    texts = [" ".join(f"w{i}a w{i}b" for i in range(20)), "w1a w1b"]
    (tmp_path / "t.txt").write_text("\n".join(texts) + "\n")
    arguments = ("predict", run, tmp_path / "t.txt", "-k", "3", "--chunk-words", "4", "--chunk-pooling", "max")
    status, out, err = command(*arguments, "--max-chunks", "5")
    assert status == 0, err
    assert "5 evenly spaced chunks of 4 words" in err
    found = [json.loads(line)["labels"] for line in out.splitlines()]
    model = ChunkedClassifier(megalabel.load(run), Chunking(4, max_chunks=5), "max")
    model.say = lambda line: None
    assert [[label["label"] for label in row] for row in found] == [
        [name for name, _ in row] for row in model.predict(texts, 3)
    ]
    status, out, err = command(*arguments)
    assert status == 0 and "evenly spaced" not in err
    assert command(*arguments, "-o", tmp_path / "a.npz")[0] == 0
    with np.load(tmp_path / "a.npz") as stored:
        assert (str(stored["chunks"]), str(stored["chunk_pooling"])) == ("chunks of 4 words", "max")


def test_evaluate_says_in_metrics_json_how_texts_were_cut(command, run, folder, tmp_path):
    status, _, err = command(
        "evaluate", run, "--chunk-words", "3", "--chunk-overlap", "1", "-o", tmp_path / "m.json"
    )
    assert status == 0, err
    about = json.loads((tmp_path / "m.json").read_text())["about"]
    assert (about["chunks"], about["chunk_pooling"]) == ("chunks of 3 words that overlap by 1", "mean")
    assert command("evaluate", run)[0] == 0
    status, _, err = command("evaluate", run, "--chunk-words", "3")
    assert status == 0 and "replaces the metrics of whole texts" in err
    assert "replaces the metrics of chunks of 3 words" in command("evaluate", run)[2]


def test_a_run_of_chunked_takes_other_values_when_it_predicts(command, run, folder, tmp_path):
    out = tmp_path / "r"
    status, _, err = command("train", "chunked", run, "--chunk-words", "3", "--chunk-pooling", "max", "--out", out)
    assert status == 0, err
    assert isinstance(megalabel.load(out), ChunkedClassifier)
    status, _, err = command("evaluate", out, "--max-chunks", "2", "-o", tmp_path / "m.json")
    assert status == 0, err
    about = json.loads((tmp_path / "m.json").read_text())["about"]
    assert (about["chunks"], about["chunk_pooling"]) == ("chunks of 3 words, at most 2", "max")
    assert command("evaluate", out, "-o", tmp_path / "m.json", "--export", tmp_path / "e")[0] == 0
    about = json.loads((tmp_path / "e" / "about.json").read_text())
    assert (about["chunks"], about["chunk_pooling"]) == ("chunks of 3 words, at most 64", "max")


def test_one_command_trains_a_model_and_chooses_chunks(command, folder, tmp_path):
    given = ("--trees", "1", "--token-pattern", "letters", "--bigrams", "no", "--char-ngrams", "no", "--c", "1")
    status, _, err = command("train", "linear", folder, *given, "--then", "chunked", "--out", tmp_path / "r")
    assert status == 0, err
    assert "chunks: none" in err  # the texts are short
    assert not isinstance(megalabel.load(tmp_path / "r"), ChunkedClassifier)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--chunk-pooling", "mean"], "--chunk-words"),
        (["--chunk-words", "5", "--chunk-tokens", "5"], "one of the two"),
        (["--chunk-tokens", "5"], "chunks of words"),
        (["--chunk-words", "0"], "--chunk-words"),
        (["--chunk-words", "5", "--chunk-pooling", "median"], "softmax"),
        (["--chunk-words", "5", "--max-chunks", "-1"], "--max-chunks"),
    ],
)
def test_options_that_do_not_fit_are_refused(command, run, options, said):
    status, _, err = command("evaluate", run, *options)
    assert status != 0
    assert said in err and "Traceback" not in err
