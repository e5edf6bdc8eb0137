"""Exported graphs give the labels and scores of the library, and what cannot be exported says so."""

import contextlib
import importlib.util
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import planted
from topk_agree import assert_topk_agree
from typer.testing import CliRunner
from untrained import of_bags, untrained

import megalabel
from megalabel.data.texts import Texts
from megalabel.encoders.bag import Bag
from megalabel.encoders.frozen import Frozen
from megalabel.encoders.readout import Readout, first_token
from megalabel.encoders.transformer import Transformer
from megalabel.errors import DataError, MissingExtra, SettingError
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.lightxml import LightXMLHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.inputs.batches import pad
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.labels.tree import LabelTree
from megalabel.models.neural import NeuralClassifier
from megalabel.onnx.comparison import difference
from megalabel.onnx.encoders import encoder_graph, positions_in
from megalabel.onnx.export import export
from megalabel.onnx.graph import ModelGraph
from megalabel.onnx.heads import head_graph
from megalabel.onnx.session import INT8, OnnxModel
from megalabel.types import TopK

DOCS = Path(__file__).parent.parent / "docs" / "onnx.md"
N_LABELS, DIM, K = 64, 16, 10
INSTALLED = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript"))
needs_onnx = pytest.mark.skipif(not INSTALLED, reason="needs megalabel[onnx]")


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module")
def texts(data):
    return ["", "w0a", *data.test.texts]


def tree() -> LabelTree:
    """4 clusters, 16 clusters of unequal sizes, and the labels in an order of their own."""
    random = np.random.default_rng(0)
    sizes = random.multinomial(N_LABELS - 16, np.full(16, 1 / 16)) + 1
    offsets = np.arange(0, 17, 4), np.concatenate([[0], sizes.cumsum()])
    return LabelTree(offsets, random.permutation(N_LABELS))


def cascade(path_score: str = "label*parent", beams: tuple[int, int] = (2, 5), n_views: int = 1) -> CascadeHead:
    head = CascadeHead(tree(), DIM, beams=beams, n_views=n_views, path_score=path_score)
    with torch.no_grad():
        for bias in head.biases:
            bias.normal_()
    return head


def sparse(n_labels: int = N_LABELS, group: int = 1, weights: str = "float32") -> SparseHead:
    head = SparseHead(n_labels, DIM, fan_in=6, group=group, weights=weights)
    torch.nn.init.normal_(head.bias)
    return head


def dense(n_labels: int = N_LABELS, **options) -> DenseHead:
    return DenseHead(n_labels, DIM, bias=True, init_std=1.0, **options)


def dual() -> DualEncoderHead:
    head = DualEncoderHead(N_LABELS, DIM)
    head.label_vectors.normal_()
    return head


HEADS = {
    "dense": dense,
    "dense in float8": lambda: dense(weights="float8"),
    "dual encoder": dual,
    "sparse": sparse,
    "sparse in groups": lambda: sparse(group=16),
    "sparse groups, the last one smaller": lambda: sparse(N_LABELS - 4, group=16, weights="bfloat16"),
    "projection": lambda: WithProjection(sparse(), DIM, activation="gelu"),
    "partitioned": lambda: PartitionedHead(
        [dense(8, reduction="mean"), sparse(N_LABELS - 8)], torch.randperm(N_LABELS)
    ),
    "cascade": cascade,
    "exact cascade": lambda: cascade(beams=(4, 16)),
    "cascade of paths": lambda: cascade("path"),
    "decayed cascade": lambda: cascade("decayed", (1, 3)),
    "cascade of labels": lambda: cascade("label", (3, 16)),
    "cascade that reaches few labels": lambda: cascade("label*parent", (1, 1)),
    "cascade with views": lambda: cascade(n_views=3),
}


@pytest.mark.parametrize("chunk", [1 << 16, 16])
@pytest.mark.parametrize("name", HEADS)
def test_the_graph_of_a_head_ranks_as_the_head_does(name, chunk):
    torch.manual_seed(0)
    head = HEADS[name]().eval()
    views = torch.randn(50, head.n_views, DIM)
    scores, labels = head_graph(head, K, chunk)(views)
    assert_topk_agree(TopK(labels, scores.detach()), head.topk(views, K))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 100])
def test_a_binary_search_finds_every_number_that_is_there(n):
    ascending = torch.from_numpy(np.sort(np.random.default_rng(n).choice(1000, n, replace=False)))
    values = torch.arange(-1, 1001).view(2, -1)
    found = positions_in(ascending, values)
    assert torch.equal(found, torch.searchsorted(ascending, values).clamp(max=n - 1))


def bag(data, bigrams: bool = True, **options) -> Bag:
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(data.train.texts, 200)
    n = tokenizer.vocabulary_size
    pairs = torch.unique(torch.randint(2, n, (1500,)) * n + torch.randint(2, n, (1500,))) if bigrams else None
    weights = torch.rand(n + (0 if pairs is None else len(pairs)))
    encoder = Bag(tokenizer, dim=DIM, bigrams=pairs, weights=weights, hidden_dim=8, **options)
    torch.nn.init.normal_(encoder.table.weight)
    for block in encoder.blocks:
        torch.nn.init.normal_(block.narrow.weight)
    return encoder.eval()


def bert(data, **options) -> Transformer:
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(data.train.texts, 200)
    config = {
        "model_type": "bert", "vocab_size": tokenizer.vocabulary_size, "hidden_size": DIM, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 40,
    }  # fmt: skip
    return Transformer.untrained(config, tokenizer, **options).eval()


ENCODERS = {
    "bag": lambda data: bag(data, bigrams=False),
    "bag with bigrams": bag,
    "wide bag of views": lambda data: bag(data, n_views=3, width=24),
    "frozen": lambda data: Frozen(bert(data), hidden_dim=8).eval(),
    "transformer with readouts": lambda data: bert(data, readouts=[first_token(0.5), Readout()], norm=True),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_graph_of_an_encoder_gives_its_views(data, texts, name):
    encoder = ENCODERS[name](data)
    tokens, mask = pad([np.asarray(ids) for ids in encoder.tokenizer.encode(texts, 12)], encoder.tokenizer.pad_id)
    with torch.no_grad():
        torch.testing.assert_close(encoder_graph(encoder, 12)(tokens, mask), encoder(tokens, mask))


def model_of(data, encoder, head) -> NeuralClassifier:
    return NeuralClassifier(encoder, head.eval(), data.label_texts, 12)


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    """A bag with bigrams and a dense head, its weights beside the graph, in 8 bits too; and the command's output."""
    if not INSTALLED:
        pytest.skip("needs megalabel[onnx]")
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
    assert rough["P@5"] == pytest.approx(
        megalabel.metrics.ranking.measure(top, data.test.labels, k=[5])["P@5"], abs=1e-3
    )


def test_the_script_of_the_page_runs_without_megalabel(exported):
    _, folder, _ = exported
    script = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert "megalabel" not in script
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(script.replace("my-labels-onnx", str(folder)), {})
    assert len(eval(output.getvalue())) == K


@needs_onnx
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


def test_models_of_other_kinds_are_refused():
    with pytest.raises(SettingError, match="LinearClassifier"):
        ModelGraph(of_bags()[0], K)
    model = untrained(["a", "b", "c"])
    model.head = LightXMLHead(LabelTree((np.array([0, 1, 3]),), np.arange(3)), 8, candidates=2)
    with pytest.raises(SettingError, match="LightXMLHead"):
        ModelGraph(model, 2)
    long = bert(planted(), windows=4, window_length=8)
    with pytest.raises(SettingError, match="windows"):
        encoder_graph(long, 24)


@needs_onnx
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


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_named(monkeypatch, tmp_path, name):
    untrained(["a", "b"]).save(tmp_path / "model")
    for known in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, known, None if known == name else sys)
    with pytest.raises(MissingExtra, match=name):
        export(tmp_path / "model", tmp_path / "out")


def test_rankings_differ_by_their_scores_and_not_by_the_order_of_ties():
    one = TopK(np.array([[3, 1, 2]]), np.array([[0.5, 0.4, 0.4]], np.float32))
    tied = TopK(np.array([[3, 2, 7]]), np.array([[0.5, 0.4, 0.4]], np.float32))
    other = TopK(np.array([[3, 1, 9]]), np.array([[0.5, 0.4, 0.2]], np.float32))
    assert difference(one, tied) == (0.0, 0.0)
    assert difference(one, other)[0] == pytest.approx(0.2)
    assert difference(one, one) == (0.0, 1.0)


def test_names_of_labels_with_breaks_stay_one_line_each(tmp_path):
    from megalabel.models.label_names import save_names

    names = ["two\nlines", "a\u2028b", "x"]
    save_names(tmp_path, Texts.from_strings(names))
    with open(tmp_path / "labels.jsonl", encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == names
