"""Graphs of linear models read texts as the model does, and rank as it does, before and after the export."""

import contextlib
import io
import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import scipy.sparse as sp
import torch
from planted import planted
from support.onnx_installed import require
from topk_agree import assert_topk_agree
from untrained import of_bags

from megalabel.errors import SettingError
from megalabel.inputs.sparse_text import SparseText
from megalabel.kernels.linear.compact_chunks import compact, float32_values
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.linear.forest import solve_trees
from megalabel.models.linear import LinearClassifier
from megalabel.onnx import export as export_module
from megalabel.onnx import words
from megalabel.onnx.export import export
from megalabel.onnx.graph import graph_of
from megalabel.onnx.linear import in_8_bits
from megalabel.onnx.searching import positions_between, ragged
from megalabel.onnx.session import INT8, OnnxModel, code_points
from megalabel.onnx.words import WordGraph
from megalabel.types import TopK

DOCS = Path(__file__).parent.parent / "docs" / "onnx.md"
K = 10
STRANGE = [
    "", " ", "dog", "Dog dogs, DOG's dog_house -> dog!!", "a\0b", "x = a->b; y != z", "\u2028tab\tand\nline\x1f",
    "Čeština café cafe\u0301 STRASSE straße ﬁne İstanbul ΟΔΟΣ", "日本語の文 東京都 한국어 हिन्दी العربية",
    "😀😀 a😀b 𝔘𝔫𝔦",
    "w" * 300, f"{'w' * 300} dog dog", "_ __ a_b 12 1.2e-3", "\ud800 dog", "\U000e0100 \U0010ffff dog",
]  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module")
def texts(data):
    return ["", "nothing of this is known", "w0a", "w0a " * 40, *data.test.texts[:40], *STRANGE]


def model_of(data, n_trees=2, post_processor="l3-hinge", beam_size=2, depths=(2, 4), **features):
    text, x = SparseText.learn_rows(data.train.texts, **features)
    options = {"cluster_features": 100, "seed": 0, "say": lambda line: None, "max_iter": 3}
    options |= {"beam_size": beam_size, "post_processor": post_processor}
    trees = solve_trees(x, data.train.labels, trees=n_trees, depths=depths, **options)
    return LinearClassifier(text, trees, data.label_texts)


@pytest.fixture(scope="module")
def model(data):
    return model_of(data)


def top_of(graph, texts, folds=True) -> TopK:
    with torch.no_grad():
        labels, scores = graph(torch.from_numpy(code_points(texts, folds)))
    return TopK(labels, scores)


@pytest.mark.parametrize("char_ngrams", [None, (1, 3), (4, 4)])
@pytest.mark.parametrize("pattern", ["letters", "words", "signs", "symbols"])
def test_texts_have_the_features_of_the_library(pattern, char_ngrams):
    learned = [text for text in STRANGE if len(text) < 100] * 2 + ["dog house", "b a"]
    text = SparseText.learn(learned, pattern=pattern, char_ngrams=char_ngrams, bigrams=pattern != "words")
    graph = WordGraph(text)
    found = graph(torch.from_numpy(code_points(STRANGE, pattern != "symbols")))
    kept = found.values[:-1].numpy(), (found.texts[:-1].numpy(), found.features[:-1].numpy())
    difference = sp.csr_matrix(kept, shape=(len(STRANGE), text.size)) - text.transform(STRANGE)
    assert text.size > 20
    assert abs(difference).max() < 1e-6
    assert found.values[-1] == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_trees": 1, "post_processor": "sigmoid"},
        {"n_trees": 3, "post_processor": "l2-hinge", "beam_size": 100},
        {"n_trees": 1, "post_processor": "sigmoid", "beam_size": 1, "depths": (5,)},
    ],
    ids=["two trees", "one tree", "beams of all nodes", "beams that reach few labels"],
)
def test_a_graph_ranks_as_the_model_does(data, texts, options):
    model = model_of(data, **options)
    expected = model.topk(texts, K)
    assert (expected.ids < 0).any() or options.get("beam_size") != 1
    assert_topk_agree(top_of(graph_of(model, K), texts), expected)


def changed(model, change) -> LinearClassifier:
    """The model with other arrays in the levels of its trees."""
    trees = [
        SparseBeam([change(level) for level in tree.levels], tree.order, tree.beams, tree.post_processor)
        for tree in model.trees
    ]
    return LinearClassifier(model.text, trees, model.label_texts)


def widened(level: Chunks) -> Chunks:
    """The level with weights of float32, for which the library needs no further compiled code."""
    return Chunks(level.n_features, **level.arrays | {"values": float32_values(level), "scales": None})


@pytest.mark.parametrize(("weights", "short"), [("float32", True), ("bfloat16", False), ("int8", True)])
def test_compact_weights_stay_as_they_are(model, texts, weights, short):
    stored = changed(model, partial(compact, weights=weights, short_features=short))
    assert_topk_agree(top_of(graph_of(stored, K), texts), changed(stored, widened).topk(texts, K))
    rounded = changed(in_8_bits(stored), widened)
    assert_topk_agree(rounded.topk(texts, K), model.topk(texts, K), atol=0.05)
    stored.deep = 7  # of imported models
    assert in_8_bits(stored).deep == 7


def test_trees_of_different_shapes_are_averaged(data, model, texts):
    other = model_of(data, 1, beam_size=4, depths=(3,))
    both = LinearClassifier(model.text, [*model.trees, *other.trees], data.label_texts)
    assert_topk_agree(top_of(graph_of(both, K), texts), both.topk(texts, K))


def test_ragged_rows_and_parts_of_tables_are_found():
    rows, places = ragged(torch.tensor([2, 0, 3]))
    assert (rows.tolist(), places.tolist()) == ([0, 0, 2, 2, 2], [0, 1, 0, 1, 2])
    assert [len(part) for part in ragged(torch.tensor([0]))] == [0, 0]
    table = torch.tensor([1, 5, 9, 2, 5])
    first, last = torch.tensor([0, 0, 3, 3, 2, 3]), torch.tensor([3, 3, 5, 5, 2, 3])
    found = positions_between(table, torch.tensor([5, 10, 1, 5, 9, 2]), first, last, 3)
    assert found.tolist() == [1, 3, 3, 4, 2, 3]


def test_models_over_bags_of_words_and_vocabularies_with_equal_keys_are_refused(model, monkeypatch):
    with pytest.raises(SettingError, match="bags of words"):
        graph_of(of_bags()[0], K)
    monkeypatch.setattr(words, "key_of", len)
    with pytest.raises(SettingError, match="same key"):
        graph_of(model, K)


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    """Trees over words, bigrams and character n-grams."""
    require(recent_torch=False)
    folder = tmp_path_factory.mktemp("onnx")
    model = model_of(data, depths=(3,), vocabulary=500, char_ngrams=(3, 3))
    model.save(folder / "model")
    facts = export(folder / "model", folder / "out", check=(data, data.test))
    return model, folder / "out", facts


def test_a_linear_model_is_exported_with_its_features_and_top_k(exported, texts):
    model, folder, facts = exported
    for some in (texts, [""], ["w0a"]):
        assert_topk_agree(OnnxModel(folder).topk(some), model.topk(some, K), atol=1e-4)
    assert {file.name for file in folder.iterdir()} == {"model.onnx", "labels.jsonl", "export.json"}
    assert (facts["input"], facts["score_type"], facts["k"]) == ("folded code points", "probability", K)
    assert facts["check"]["model.onnx"]["P@1"] == facts["check"]["model"]["P@1"]
    assert facts == json.loads((folder / "export.json").read_text(encoding="utf-8"))


def test_8_bits_are_those_of_the_recipe(exported, tmp_path, monkeypatch):
    _, folder, _ = exported
    written = {}

    def write(graph, file, inline_bytes):  # an export takes seconds
        written[file.name] = graph
        shutil.copy(folder / "model.onnx", file)

    monkeypatch.setattr(export_module, "write_graph", write)
    export(folder.parent / "model", tmp_path / "out", int8=True)
    scaled = {name: graph.forests[0].levels[0].scaled for name, graph in written.items()}
    assert scaled == {"model.onnx": False, INT8: True}


def test_the_script_of_the_page_for_linear_models_runs_without_megalabel(exported):
    _, folder, _ = exported
    scripts = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    script = next(script for script in scripts if "code_points" in script)
    assert "megalabel" not in script
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(script.replace("my-linear-onnx", str(folder)), {})
    assert len(eval(output.getvalue())) == K
