"""Weights from a file in NGAME's layout: what is taken, what is left, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from planted import planted
from safetensors.torch import save_file

import megalabel
from megalabel.encoders.transformer import Transformer
from megalabel.encoders.weights import convert
from megalabel.errors import FormatError, SettingError
from megalabel.recipes.renee import renee

PREFIX = "embedding_labels.encoder.transformer.0.auto_model."
WORDS = "embeddings.word_embeddings.weight"


def own_state(folder) -> dict[str, torch.Tensor]:
    return Transformer.pretrained(str(folder)).model.state_dict()


def ngame(tiny_bert, **changes) -> dict[str, torch.Tensor]:
    """A state dict as NGAME's trainer saves it: the encoder under a prefix, with a pooler and parts of its own."""
    state = {f"{PREFIX}{name}": tensor + 0.25 for name, tensor in own_state(tiny_bert).items()}
    state[f"{PREFIX}pooler.dense.weight"] = torch.zeros(32, 32)
    state[f"embedding_docs.encoder.transformer.0.auto_model.{WORDS}"] = torch.zeros(3, 32)
    return {**state, "classifier.weight": torch.zeros(7, 32), **changes}


def test_an_encoder_of_ngame_is_loaded_and_counted(tiny_bert, tmp_path):
    state = ngame(tiny_bert)
    torch.save(state, tmp_path / "state_dict.pt")
    encoder = Transformer.pretrained(str(tiny_bert), weights=tmp_path / "state_dict.pt")
    own = encoder.model.state_dict()
    for name, tensor in own.items():
        torch.testing.assert_close(tensor, state[f"{PREFIX}{name}"])
    (note,) = encoder.notes
    assert f"{len(own)} tensors" in note
    assert PREFIX in note
    assert "3 others left" in note


@pytest.mark.parametrize("prefix", ["", "module.", "model.encoder."])
@pytest.mark.parametrize("kind", ["pt", "wrapped", "safetensors"])
def test_other_prefixes_and_files_are_read_too(prefix, kind, tiny_bert, tmp_path):
    own = own_state(tiny_bert)
    state = {f"{prefix}{name}": tensor + 1.0 for name, tensor in own.items()}
    file = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state, "epoch": 3} if kind == "wrapped" else state, file)
    found = Transformer.pretrained(str(tiny_bert), weights=file).model.state_dict()
    assert all(torch.equal(found[name], tensor + 1.0) for name, tensor in own.items())


def test_of_two_encoders_that_of_the_labels_is_taken(tiny_bert, tmp_path):
    docs = {name.replace("labels", "docs", 1): tensor - 1 for name, tensor in ngame(tiny_bert).items()}
    torch.save({**docs, **ngame(tiny_bert)}, tmp_path / "state_dict.pt")
    found = Transformer.pretrained(str(tiny_bert), weights=tmp_path / "state_dict.pt").model.state_dict()
    assert all(torch.equal(found[name], tensor + 0.25) for name, tensor in own_state(tiny_bert).items())


def test_what_does_not_fit_is_refused(tiny_bert, deep_bert, tmp_path):
    file = tmp_path / "state_dict.pt"
    torch.save(ngame(tiny_bert), file)
    with pytest.raises(SettingError, match=r"lacks \d+ of the \d+ tensors.*encoder\.layer\.2"):
        Transformer.pretrained(str(deep_bert), weights=file)
    torch.save(ngame(tiny_bert, **{f"{PREFIX}{WORDS}": torch.zeros(5, 32)}), file)
    with pytest.raises(SettingError, match="shape"):
        Transformer.pretrained(str(tiny_bert), weights=file)


def test_what_holds_no_tensors_is_refused(tiny_bert, tmp_path):
    file = tmp_path / "state_dict.pt"
    for content in (b"", b"PK\x03\x04 damaged", b"no tensors", pickle.dumps({"a": 1})):
        file.write_bytes(content)
        with pytest.raises(FormatError, match=r"torch\.save"):
            Transformer.pretrained(str(tiny_bert), weights=file)
    for value in ([1, 2], {"a": 1}, torch.zeros(3)):
        torch.save(value, file)
        with pytest.raises(FormatError, match="without named tensors"):
            Transformer.pretrained(str(tiny_bert), weights=file)
    with pytest.raises(FormatError):
        Transformer.pretrained(str(tiny_bert), weights=tmp_path / "gone.pt")


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "run")


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_of_the_file_is_run(zipped, tiny_bert, tmp_path):
    torch.save({"a": Attack(tmp_path / "ran")}, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(FormatError):
        Transformer.pretrained(str(tiny_bert), weights=tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


def test_a_converted_folder_is_the_encoder_with_these_weights(tiny_bert, tmp_path):
    torch.save(ngame(tiny_bert), tmp_path / "state_dict.pt")
    said = convert(str(tiny_bert), tmp_path / "state_dict.pt", tmp_path / "folder")
    assert "tensors of" in said
    loaded = Transformer.pretrained(str(tiny_bert), weights=tmp_path / "state_dict.pt")
    again = Transformer.pretrained(str(tmp_path / "folder"))
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor)
    texts = ["w1a w2b noise3", "w5a"]
    for one, other in zip(again.tokenizer.encode(texts, 16), loaded.tokenizer.encode(texts, 16), strict=True):
        assert list(one) == list(other)
    with pytest.raises(SettingError, match="exists"):
        convert(str(tiny_bert), tmp_path / "state_dict.pt", tmp_path / "folder")


def test_a_recipe_starts_from_the_weights_and_says_so(tiny_bert, tmp_path, capsys):
    torch.save(ngame(tiny_bert), tmp_path / "state_dict.pt")
    values = {"max_length": 16, "epochs": 1, "batch_size": 64, "warmup": 0.1, "encoder_lr": 0.0}
    given = {"encoder": str(tiny_bert), "encoder_weights": str(tmp_path / "state_dict.pt")}
    model = megalabel.train(renee(planted(), **values, **given), tmp_path / "r", device="cpu")
    assert "encoder weights:" in capsys.readouterr().err
    torch.testing.assert_close(model.encoder.model.state_dict()[WORDS], ngame(tiny_bert)[f"{PREFIX}{WORDS}"])
    with pytest.raises(SettingError, match="not pretrained"):
        renee.options(encoder="bag", encoder_weights="x.pt")
