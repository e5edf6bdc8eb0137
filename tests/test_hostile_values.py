"""Values in model folders that somebody edited, hashes included: each is refused, or harmless."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.manifests import edited

import megalabel
from megalabel.errors import FormatError, MegalabelError
from megalabel.storage.tensors import load_tensors, save_tensors

WRITTEN = Path(__file__).parent / "data" / "v0.1.0"
TEXTS = ["a b", "c"]


@pytest.fixture
def saved(tmp_path):
    """A folder with a copy of a model, as it is saved today."""

    def copy(name: str) -> Path:
        megalabel.load(WRITTEN / name / "run").save(tmp_path / name)
        return tmp_path / name

    return copy


def set_at(value, path: str, new) -> None:
    *way, last = path.split("/")
    for key in way:
        value = value[int(key)] if isinstance(value, list) else value[key]
    value[int(last) if isinstance(value, list) else last] = new


CHANGES = [
    ("renee", "model", ["os"]), ("renee", "model", "megalabel.__main__:main"), ("renee", "model", ":"),
    ("renee", "model", "megalabel.models.base:Classifier"), ("renee", "model", "megalabel.cli.main:app"),
    ("renee", "model", "megalabel.models.evaluation:Evaluation"), ("renee", "model", "os:system"),
    ("renee", "encoder/class", "megalabel.encoders.base:Encoder"), ("renee", "encoder/class", "builtins:exec"),
    ("renee", "encoder", None), ("renee", "encoder/config", 7), ("renee", "encoder/config/views", 10**12),
    ("renee", "encoder/config/views", 2), ("renee", "encoder/config/dim", 10**9), ("renee", "max_length", 0),
    ("renee", "encoder/config/dim", -1), ("renee", "encoder/config/hidden", 10**7), ("renee", "max_length", "x"),
    ("renee", "encoder/config/dropout", 5), ("renee", "encoder/config/n_pairs", 10**12), ("renee", "head", []),
    ("renee", "head/config/n_labels", 10**11), ("renee", "head/config/n_labels", 3), ("renee", "sha256", []),
    ("renee", "head/config/evil", 1), ("renee", "head/class", "megalabel.heads.base:Head"),
    ("cascadexml", "head/config/sizes", [10**12, 10**12]), ("cascadexml", "head/config/beams", "x"),
    ("cascadexml", "head/config/sizes", []), ("cascadexml", "head/config/n_views", 10**12),
    ("spartex", "head/config/fan_in", 10**6), ("spartex", "head/config/group", 0),
    ("spartex-dealt", "head/config/head/config/parts", []),
    ("spartex-dealt", "head/config/head/config/parts/0/class", "os:system"),
    ("linear", "trees", [{"beams": [10**12] * 9, "scores": "sigmoid"}]), ("linear", "trees/0/files", "../x"),
    ("linear", "trees/0/files", "*"), ("linear", "n_features", 10**12), ("linear", "trees/0/scores", "x"),
    ("hybrid", "base", "../renee"), ("hybrid", "base", "text"), ("hybrid", "scale", float("nan")),
    ("ensemble", "parts", 10**12), ("ensemble", "parts", -1), ("ensemble", "mixture/weights", ["a", "b"]),
    ("bert", "encoder/config/config/vocab_size", None), ("bert", "encoder/config/config/dtype", "x"),
    ("bert", "encoder/config/config/hidden_size", 10**8), ("bert", "encoder/config/config/model_type", 5),
    ("bert", "encoder/config/config/num_hidden_layers", 10**9), ("bert", "encoder/config/readouts", [{}]),
    ("bert", "encoder/config/config/num_attention_heads", 0), ("bert", "encoder/config/config", None),
    ("bert", "encoder/config/config/attn_implementation", "x/kernel"), ("bert", "encoder/config/bottleneck", -3),
    ("bert", "encoder/config/config/hidden_act", "x"), ("bert", "encoder/config/config/num_hidden_layers", 10**6),
    ("bert-frozen", "encoder/config/inside/class", "os:system"), ("bert-frozen", "encoder/config/inside", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "value"), CHANGES, ids=lambda v: str(v)[:40])
def test_a_manifest_with_another_value_is_refused(name, path, value, saved):
    folder = saved(name)
    with edited(folder) as manifest:
        set_at(manifest, path, value)
    with pytest.raises(MegalabelError):
        model = megalabel.load(folder)
        model.topk(TEXTS, 2)  # where the value is one that can be, such as NaN that only the answer meets


@pytest.mark.parametrize("text", ["5", "null", "[" * 9999, '"a"', "\xff", "9" * 5000, '"\\ud800x'], ids=range(7))
def test_names_of_labels_that_are_none_are_refused(text, saved):
    folder = saved("renee")
    lines = (folder / "labels.jsonl").read_bytes().split(b"\n")
    (folder / "labels.jsonl").write_bytes(b"\n".join([text.encode("latin-1"), *lines[2:]]))
    with edited(folder):
        pass
    with pytest.raises(FormatError):
        megalabel.load(folder)


TENSORS = [
    ("cascadexml", "head.safetensors", "place", 0, 1), ("cascadexml", "head.safetensors", "offsets_0", 1, 10**6),
    ("cascadexml", "head.safetensors", "offsets_0", 0, -5),
    ("spartex-dealt", "head.safetensors", "inputs", 0, 255),
    ("spartex-dealt", "head.safetensors", "place", 0, 10**9), ("renee", "head.safetensors", "bias", 0, np.nan),
    ("renee", "head.safetensors", "weight", 0, np.inf),
    ("renee", "encoder.safetensors", "table.weight", 3, np.nan),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "tensor", "at", "value"), TENSORS, ids=str)
def test_numbers_that_lead_out_of_a_table_or_are_none_are_refused(name, file, tensor, at, value, saved):
    folder = saved(name)
    tensors = load_tensors(folder / file, next_step="-")
    names = (tensor, "label_to_row") if tensor == "place" else (tensor,)
    found = next(key for key in tensors if key.endswith(names))
    tensors[found].view(-1)[at] = value
    save_tensors(folder / file, tensors)
    with edited(folder):
        pass
    with pytest.raises(FormatError):
        megalabel.load(folder)


TOKENIZERS = {
    "an id beyond the table": lambda t: t["model"]["vocab"].__setitem__("copper", 10**8),
    "no unknown token": lambda t: t["model"].__setitem__("unk_token", "[MISSING]"),
    "another model": lambda t: t.__setitem__("model", {"type": "Unigram", "vocab": [], "unk_id": 9}),
    "a normalizer that blows up": lambda t: t.__setitem__(
        "normalizer",
        {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "x" * 10_000}] * 40},
    ),
    "a padding id beyond the table": lambda t: t.__setitem__(
        "padding",
        {
            "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 10**9,
            "pad_type_id": 0, "pad_token": "[PAD]",
        },
    ),
    "a regular expression that is none": lambda t: t.__setitem__(
        "pre_tokenizer", {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Removed", "invert": False}
    ),
    "special tokens without ids": lambda t: t.__setitem__(
        "post_processor",
        {
            "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}], "pair": [],
            "special_tokens": {"[X]": {"id": "[X]", "ids": [10**8], "tokens": ["[X]"]}},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokenizers_that_would_lead_out_of_the_table_are_refused(kind, saved):
    folder = saved("renee")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    TOKENIZERS[kind](tokenizer)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with edited(folder):
        pass
    try:
        model = megalabel.load(folder)
    except FormatError:
        return
    assert kind == "a normalizer that blows up"  # 400,000 characters before each text, which are cut as any text
    model.topk(TEXTS, 2)
