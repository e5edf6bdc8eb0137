"""Exported folders give the labels and scores of the library, and what they are asked for wrongly says so."""

import contextlib
import io
import json
import re
import sys
from pathlib import Path

import pytest
from planted import planted
from random_parts import N_LABELS, bag, bert, cascade, dense, sparse
from support.onnx_installed import needs_export, require
from topk_agree import assert_topk_agree
from typer.testing import CliRunner
from untrained import untrained

import megalabel
from megalabel.data.texts import Texts
from megalabel.errors import DataError, MissingExtra, SettingError
from megalabel.metrics.ranking import measure
from megalabel.models.label_names import save_names
from megalabel.models.neural import NeuralClassifier
from megalabel.onnx.export import export
from megalabel.onnx.session import INT8, OnnxModel

DOCS = Path(__file__).parent.parent / "docs" / "onnx.md"
K = 10


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module")
def texts(data):
    return ["", "w0a", *data.test.texts]


def model_of(data, encoder, head) -> NeuralClassifier:
    return NeuralClassifier(encoder, head.eval(), data.label_texts, 12)


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    """A bag with bigrams and a dense head, its weights beside the graph, and in 8 bits too."""
    require()
    folder = tmp_path_factory.mktemp("onnx")
    model = model_of(data, bag(data), dense())
    model.save(folder / "model")
    split = data, data.test
    facts = export(folder / "model", folder / "out", int8=True, check=split, inline_bytes=0)
    return model, folder / "out", facts


def test_a_dense_model_is_exported_with_its_top_k(exported, texts):
    model, folder, facts = exported
    graph = OnnxModel(folder)
    assert_topk_agree(graph.topk(texts), model.topk(texts, K), atol=1e-4)
    assert_topk_agree(graph.topk([""]), model.topk([""], K), atol=1e-4)
    assert [(one.name, one.shape[1:], one.type) for one in graph.session.get_outputs()] == [
        ("labels", [K], "tensor(int64)"),
        ("scores", [K], "tensor(float)"),
    ]
    assert (folder / "model.onnx.data").stat().st_size > (folder / "model.onnx").stat().st_size
    names = [json.loads(line) for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    assert names == list(model.label_texts)
    assert facts == json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert (facts["k"], facts["score_type"], facts["n_labels"]) == (K, "logit", N_LABELS)


def test_long_texts_are_cut_as_the_model_cuts_them(exported):
    model, folder, _ = exported
    long = [" ".join(f"w{i % 60}a" for i in range(50))]
    assert_topk_agree(OnnxModel(folder).topk(long), model.topk(long, K), atol=1e-4)


def test_what_8_bits_cost_is_measured(exported, data):
    model, folder, facts = exported
    found = facts["check"]
    precise, rough = found["model.onnx"], found[INT8]
    assert found["texts"] == len(data.test)
    assert precise["P@1"] == found["model"]["P@1"] == round(megalabel.evaluate(model, data)["P@1"], 3)
    assert precise["difference"] <= 1e-4 < rough["difference"]
    top = OnnxModel(folder, INT8).topk(list(data.test.texts))
    assert rough["P@5"] == pytest.approx(measure(top, data.test.labels, k=[5])["P@5"], abs=1e-3)


def test_the_script_of_the_page_runs_without_megalabel(exported):
    _, folder, _ = exported
    script = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert "megalabel" not in script
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(script.replace("my-labels-onnx", str(folder)), {})
    assert len(eval(output.getvalue())) == K


@needs_export
@pytest.mark.parametrize("kind", ["cascade", "sparse", "transformer"])
def test_other_models_are_exported_by_the_command(data, texts, tmp_path, kind):
    from megalabel.cli.main import app

    encoder = bert(data) if kind == "transformer" else bag(data, bigrams=False)
    model = model_of(data, encoder, {"cascade": cascade, "sparse": sparse, "transformer": dense}[kind]())
    model.save(tmp_path / "model")
    done = CliRunner().invoke(app, ["onnx", str(tmp_path / "model"), "-o", str(tmp_path / "out"), "-k", "7"])
    assert done.exit_code == 0, done.output
    assert_topk_agree(OnnxModel(tmp_path / "out").topk(texts), model.topk(texts, 7), atol=1e-4)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "model.onnx", "tokenizer.json", "labels.jsonl", "export.json",
    }  # fmt: skip


@needs_export
def test_wrong_requests_are_refused_before_anything_is_written(data, tmp_path):
    untrained(["a", "b", "c"]).save(tmp_path / "model")
    for k in (0, -1, 2.5, True):
        with pytest.raises(SettingError, match="k"):
            export(tmp_path / "model", tmp_path / "out", k=k)
    with pytest.raises(SettingError, match="exists"):
        export(tmp_path / "model", tmp_path / "model")
    with pytest.raises(DataError):
        export(tmp_path / "model", tmp_path / "out", check=(data, data.test))
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


@needs_export
def test_a_graph_that_onnxruntime_cannot_run_is_an_error_of_one_line(data, tmp_path, monkeypatch, command):
    model_of(data, bag(data, bigrams=False), dense()).save(tmp_path / "model")
    monkeypatch.setattr("megalabel.onnx.export.write_graph", lambda graph, file, size: file.write_bytes(b"odd"))
    status, _, said = command("onnx", tmp_path / "model", "-o", tmp_path / "out")
    assert status == 2 and "onnxruntime" in said and said.strip().count("\n") == 0, said
    assert not (tmp_path / "out").exists()


@needs_export
def test_more_labels_than_there_are_is_said(data, tmp_path, command):
    model_of(data, bag(data, bigrams=False), dense()).save(tmp_path / "model")
    status, printed, said = command("onnx", tmp_path / "model", "-o", tmp_path / "out", "-k", N_LABELS + 1)
    assert status == 0 and f"the graph gives all {N_LABELS}" in said and f"k = {N_LABELS} " in printed


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_named(monkeypatch, tmp_path, name):
    untrained(["a", "b"]).save(tmp_path / "model")
    for known in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, known, None if known == name else sys)
    with pytest.raises(MissingExtra, match=name):
        export(tmp_path / "model", tmp_path / "out")


def test_names_of_labels_with_breaks_stay_one_line_each(tmp_path):
    names = ["two\nlines", "a\u2028b", "x"]
    save_names(tmp_path, Texts.from_strings(names))
    with open(tmp_path / "labels.jsonl", encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == names
