"""`torch.compile` as an option: the same results, the same files, and a refusal where it cannot work."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from planted import planted

import megalabel
from megalabel.errors import SettingError
from megalabel.recipes.renee import renee
from megalabel.training import compiling

VALUES = {"max_length": 16, "epochs": 1, "batch_size": 64, "warmup": 0.1, "dropout": 0.0, "label_texts": "no"}
CPU = torch.device("cpu")


def made(tiny_bert, **values):
    return renee(planted(), encoder=str(tiny_bert), **{**VALUES, **values})


def test_a_compiled_encoder_has_the_same_views_and_tensors(tiny_bert):
    recipe = made(tiny_bert)
    tokens = torch.randint(4, 100, (3, 12))
    encoder = recipe.encoder.eval()
    before, names = encoder(tokens, tokens > 0), list(encoder.state_dict())
    assert compiling.compile_transformers(replace(recipe, compile=True), CPU, "eager") == 1
    torch.testing.assert_close(encoder(tokens, tokens > 0), before)
    assert list(encoder.state_dict()) == names


def test_without_the_option_nothing_is_compiled(tiny_bert):
    assert compiling.compile_transformers(made(tiny_bert), CPU) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler of torch warns of its own parts
def test_a_compiled_run_can_be_loaded(one_layer_bert, tmp_path):
    data = planted()
    model = megalabel.train(made(one_layer_bert, compile=True), tmp_path / "r", device="cpu", quiet=True)
    again = megalabel.load(tmp_path / "r")
    a, b = (m.topk(data.test.texts, 3).numpy()[1] for m in (model, again))
    torch.testing.assert_close(torch.from_numpy(a), torch.from_numpy(b), rtol=1e-3, atol=1e-4)


def test_what_cannot_be_compiled_is_refused(tiny_bert, monkeypatch):
    with pytest.raises(SettingError, match="compile: the encoder bag"):
        renee.options(encoder="bag", compile=True)
    with pytest.raises(SettingError, match="sparse_embedding_updates"):
        renee.options(compile=True, sparse_embedding_updates=True)
    bag = renee(planted(), **{**VALUES, "encoder": "bag", "tokenizer": "words"})
    with pytest.raises(SettingError, match="no transformer"):
        compiling.compile_transformers(replace(bag, compile=True), CPU)
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    with pytest.raises(SettingError, match=r"C\+\+ compiler"):
        compiling.compile_transformers(made(tiny_bert, compile=True), CPU)


def test_a_python_that_cannot_compile_is_refused(tiny_bert, monkeypatch):
    import torch._dynamo.eval_frame as frame

    def unsupported() -> None:
        raise RuntimeError("Python 3.99+ not yet supported")

    monkeypatch.setattr(frame, "check_if_dynamo_supported", unsupported)
    with pytest.raises(SettingError, match="not yet supported"):
        compiling.compile_transformers(made(tiny_bert, compile=True), CPU)


def test_a_compiler_that_fails_is_told_before_training(tiny_bert, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("Python.h: No such file or directory\nmuch more")

    monkeypatch.setattr(compiling.torch, "compile", broken)
    with pytest.raises(SettingError, match=r"Python\.h") as refusal:
        compiling.compile_transformers(made(tiny_bert, compile=True), CPU)
    assert "leave compile out" in str(refusal.value).lower()
    assert "much more" not in str(refusal.value)
