"""Files of the runtime: how they are found, checked and refused, and the command."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from planted import planted
from support.compiled_runtime import use
from untrained import of_bags, untrained

import megalabel
from megalabel.errors import SettingError
from megalabel.exporting.export import export, export_run
from megalabel.inputs.sparse_text import SparseText
from megalabel.linear.forest import solve_trees
from megalabel.models.ensemble import Ensemble
from megalabel.models.linear import LinearClassifier
from megalabel.recipes.linear import linear
from megalabel.runtime import ModelError, load
from megalabel.runtime.__main__ import main

DATA = planted(n_labels=24, n_texts=150, n_test=20)
TEXTS = list(DATA.test.texts)
HEAVY = ("torch", "numpy", "numba", "scipy", "transformers", "tokenizers", "pandas", "pyarrow", "safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "linear"
    megalabel.train(
        linear(DATA, trees=1, c=1.0, token_pattern="letters", bigrams="yes", char_ngrams="no"), out, quiet=True
    )
    export_run(out)
    return out


def model() -> LinearClassifier:
    text = SparseText.learn(DATA.train.texts)
    x = text.transform(DATA.train.texts)
    options = {"depths": (2,), "cluster_features": 9, "seed": 0, "say": lambda line: None}
    return LinearClassifier(text, solve_trees(x, DATA.train.labels, trees=2, **options), DATA.label_texts)


def test_a_run_its_model_and_its_file_are_opened(run):
    wanted = megalabel.load(run).predict(TEXTS, 3, probabilities=False).to_list()
    for path in (run, run / "model", run / "model.mlr", str(run)):
        found = load(path)
        assert [[name for name, _ in row] for row in found.predict(TEXTS, 3)] == [
            [n for n, _ in row] for row in wanted
        ]
    assert "24 labels" in repr(found)


def test_a_run_that_was_trained_again_is_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    manifest = tmp_path / "run" / "model" / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(ModelError) as error:
        load(tmp_path / "run")
    assert "export" in error.value.next_step
    shutil.rmtree(tmp_path / "run" / "model")  # a copy without the model is that file alone
    assert load(tmp_path / "run").n_labels == 24


def test_folders_without_an_export_say_what_they_hold_and_what_to_do(run, tmp_path):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("*.mlr"))
    untrained(list("abc")).save(tmp_path / "bag")
    ensemble = Ensemble([untrained(list("abc")), untrained(list("abc"))])
    ensemble.save(tmp_path / "ensemble")
    (tmp_path / "empty").mkdir()
    for name, found, step in (
        ("run", "recipe linear", "megalabel export"),
        ("bag", "NeuralClassifier", "megalabel export"),
        ("ensemble", "Ensemble", "megalabel distill"),
        ("empty", "without a model", ""),
    ):
        with pytest.raises(ModelError) as error:
            load(tmp_path / name)
        assert found in error.value.found and step in error.value.next_step


@pytest.mark.parametrize("path", [None, 3, b"x", "", "no/such/file", __file__])
def test_what_is_no_path_of_a_model_is_refused(path):
    with pytest.raises(ModelError):
        load(path)


def test_other_models_are_not_exported(tmp_path):
    ensemble = Ensemble([untrained(list("abc")), untrained(list("abc"))])
    for other in (ensemble, of_bags()[0]):
        with pytest.raises(SettingError):
            export(other, tmp_path / "model.mlr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "texts, k",
    [("text", 1), (["a", 3], 1), (None, 1), ({"a": 1}, 1), ({"a"}, 1), (["a"], 0), (["a"], True), (["a"], 1.0)],
)
def test_arguments_that_do_not_fit_are_refused(run, texts, k):
    with pytest.raises(ModelError):
        load(run).topk(texts, k)


def test_another_file_is_not_replaced(run, tmp_path):
    for name, content in (("recipe.json", b'{"recipe": "linear"}'), ("notes.txt", b"")):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingError):
        export_run(run, tmp_path / "recipe.json")
    for _ in range(2):  # an empty file is replaced, and so is an older export
        assert export_run(run, tmp_path / "notes.txt")[1] > 0
    assert load(tmp_path / "notes.txt").n_labels == 24


@pytest.mark.parametrize("threshold", ["0.5", float("nan"), float("inf"), 1.5, [0.5]])
def test_a_threshold_is_refused_where_the_library_refuses_it(run, threshold):
    with pytest.raises(ModelError) as error:
        load(run).predict(TEXTS, 3, threshold=threshold)
    assert error.value.where == "threshold"
    with pytest.raises(SettingError):
        megalabel.load(run).predict(TEXTS, 3, threshold=threshold)


def test_numbers_may_be_those_of_numpy(run):
    found = load(run)
    asked = found.predict(TEXTS, np.int64(3), threshold=np.float32(0.25))
    assert asked == found.predict(TEXTS, 3, threshold=0.25)


def test_probabilities_need_a_model_that_has_them(tmp_path):
    export(untrained(list("abc")), tmp_path / "model.mlr")
    found = load(tmp_path / "model.mlr")
    assert found.score_type == "logit" and not found.is_calibrated
    with pytest.raises(ModelError) as error:
        found.predict(["a"], probabilities=True)
    assert "calibrate" in error.value.next_step


@pytest.mark.parametrize("operations", ["plain", "compiled"])
@pytest.mark.parametrize("kind", ["linear", "bag"])
def test_a_damaged_file_is_an_error_or_another_answer_but_no_crash(kind, operations, tmp_path, monkeypatch):
    use(monkeypatch, operations)
    path = tmp_path / "model.mlr"
    export(model() if kind == "linear" else untrained(list("abc")), path)
    whole, chance = path.read_bytes(), random.Random(1)
    refused = 0
    for i in range(80):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 3, 200])):
            damaged[chance.randrange(len(damaged) if i % 3 else min(4000, len(damaged)))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.choice([len(damaged)] * 9 + [chance.randrange(len(damaged))])])
        try:
            found = load(path)
            found.predict(["w1a w2b a", "b c", "w3a w3b w4a"], 3)
        except ModelError:
            refused += 1
            continue
        with pytest.raises(ModelError):
            found.verify()
    assert refused > 10
    path.write_bytes(whole)
    load(path).verify()


def test_nothing_heavy_is_imported(run):
    program = f"""
import sys
from megalabel.runtime import load
print(load({str(run)!r}).predict(["w1a w1b"], 1)[0][0][0])
print(sorted(m for m in {HEAVY!r} if m in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["w1a w1b", "[]"]


def test_the_command_answers_each_line_and_checks_files(run, tmp_path, capsysbinary, monkeypatch):
    (tmp_path / "texts.txt").write_bytes("w1a w1b\r\nw2a ü\n\n".encode())
    assert main([str(run), str(tmp_path / "texts.txt"), "-k", "2"]) == 0
    lines = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert [len(line["labels"]) for line in lines] == [2, 2, 2]
    assert lines[0]["labels"][0]["label"] == "w1a w1b" and lines[0]["score_type"] == "probability"
    assert main([str(run), "--check"]) == 0
    for wrong in ([], ["a", "b", "c"], [str(run), "-k", "x"], [str(run), "-k"], [str(run), "--no"], ["no such"]):
        assert main(wrong) == 2
        assert capsysbinary.readouterr().err.count(b"\n") == 1
    (tmp_path / "texts.txt").write_bytes(b"a\n\xff\n")
    assert main([str(run), str(tmp_path / "texts.txt")]) == 2 and b"line 2" in capsysbinary.readouterr().err
    assert main(["--help"]) == 0


def test_the_command_line_exports(run, command, tmp_path):
    status, out, _ = command("export", run, "-o", tmp_path / "one.mlr")
    assert status == 0 and "one.mlr" in out
    assert load(tmp_path / "one.mlr").topk(TEXTS, 2) == load(run).topk(TEXTS, 2)
    untrained(list("abc")).save(tmp_path / "bag")
    assert command("export", tmp_path / "bag")[0] == 0
    assert load(tmp_path / "bag").n_labels == 3
    status, _, err = command("export", tmp_path / "nothing")
    assert status == 2 and err.count("\n") == 1
