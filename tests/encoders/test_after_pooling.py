"""Dense layers and norms of sentence-transformers: they are computed, trained, saved, exported and counted."""

import json
import shutil

import numpy as np
import pytest
import torch
from encoders.test_sentence_transformers import LIGHT, TEXTS, folder, modules, views, write  # noqa: F401
from planted import planted
from safetensors.torch import save_file
from support.onnx_installed import needs_export
from torch.nn import functional as F

import megalabel
from megalabel.encoders.frozen import Frozen
from megalabel.encoders.transformer import Transformer
from megalabel.encoders.weights import convert
from megalabel.errors import FormatError, SettingError
from megalabel.planning.components import components_of
from megalabel.planning.encoders import shape_of
from megalabel.planning.job import Data, Job
from megalabel.recipes import get
from megalabel.recipes.dexml import dexml
from megalabel.recipes.renee import renee
from megalabel.recipes.spartex import spartex

LINEAR = "torch.nn.modules.linear.Identity"


def dense(folder, name, width, out, *, file="model.safetensors", **config):  # noqa: F811
    """Writes a Dense module as sentence-transformers does; returns its tensors."""
    generator = torch.Generator().manual_seed(out)
    tensors = {"linear.weight": torch.randn(out, width, generator=generator) / width**0.5}
    if config.get("bias", True):
        tensors["linear.bias"] = torch.randn(out, generator=generator)
    if config.get("use_residual") and width != out:
        tensors["residual.weight"] = torch.randn(out, width, generator=generator)
    write(folder, f"{name}/config.json", {"in_features": width, "out_features": out, **config})
    if file.endswith(".bin"):
        torch.save(tensors, folder / name / file)
    else:
        save_file(tensors, folder / name / file)
    return tensors


@pytest.fixture
def labse(folder):  # noqa: F811
    """As LaBSE: the first token, a dense layer with a hyperbolic tangent, and a norm."""
    write(folder, "modules.json", modules("Transformer", "Pooling", "Dense", "Normalize"))
    write(folder, "1_Pooling/config.json", {"pooling_mode_cls_token": True})
    dense(folder, "2_Dense", 32, 24)
    return folder


def pooled(encoder: Transformer) -> torch.Tensor:
    """The views without what follows the pooling, for the readout of the encoder."""
    plain = Transformer(encoder.model, encoder.tokenizer, readouts=encoder.readouts)
    return views(plain, TEXTS)


def test_a_dense_layer_follows_the_pooling(labse):
    tensors = dense(labse, "2_Dense", 32, 24)
    encoder = Transformer.pretrained(str(labse), own_pooling=None)
    wanted = torch.tanh(pooled(encoder) @ tensors["linear.weight"].T + tensors["linear.bias"])
    torch.testing.assert_close(views(encoder, TEXTS), wanted)
    assert encoder.dim == 24 and any("Normalize" in note for note in encoder.notes)


def test_several_layers_norms_and_residual_connections_are_computed_in_their_order(folder):  # noqa: F811
    write(folder, "modules.json", modules("Transformer", "Pooling", "Normalize", "Dense", "Dense", "LayerNorm"))
    write(folder, "1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]})
    first = dense(folder, "3_Dense", 64, 40, file="pytorch_model.bin", bias=False, activation_function=LINEAR)
    gelu = {"activation_function": "torch.nn.modules.activation.GELU", "use_residual": True}
    second = dense(folder, "4_Dense", 40, 16, **gelu)
    write(folder, "5_LayerNorm/config.json", {"dimension": 16})
    norm = {"norm.weight": torch.arange(16.0), "norm.bias": torch.ones(16)}
    save_file(norm, folder / "5_LayerNorm" / "model.safetensors")
    encoder = Transformer.pretrained(str(folder), own_pooling=True)
    x = F.normalize(pooled(encoder), dim=1) @ first["linear.weight"].T
    y = F.gelu(x @ second["linear.weight"].T + second["linear.bias"]) + x @ second["residual.weight"].T
    wanted = F.layer_norm(y, (16,), norm["norm.weight"], norm["norm.bias"])
    torch.testing.assert_close(views(encoder, TEXTS), wanted)


def test_another_pooling_leaves_the_layers_out_and_says_so(labse):
    encoder = Transformer.pretrained(str(labse))
    assert encoder.dim == 32 and not encoder.after_pooling
    assert [note for note in encoder.notes if "left out" in note and "Dense" in note]
    data = planted()
    assert dexml(data, encoder=str(labse), **LIGHT).encoder.dim == 32
    assert dexml(data, encoder=str(labse), pooling="own", **LIGHT).encoder.dim == 24


def test_several_layers_of_the_transformer_are_refused_before_a_dense_layer(labse):
    options = {**LIGHT, "fan_in": 8, "prune": "none", "last_layers": 2, "pooling": "own", "epochs": 20}
    with pytest.raises(SettingError, match="width 64 for the module Dense") as error:
        spartex(planted(), encoder=str(labse), **options)
    assert "pooling" in str(error.value.next_step)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"activation_function": "my_package.Swish"}, "my_package.Swish"),
        ({"activation_function": "torch.nn.modules.activation.MultiheadAttention"}, "MultiheadAttention"),
        ({"module_input_name": "token_embeddings"}, "Dense for token_embeddings"),
        ({"module_output_name": "other"}, "Dense for other"),
        ({"in_features": 30}, "shapes"), ({"bias": False}, "shapes"), ({"out_features": "many"}, "out_features"),
    ],
)  # fmt: skip
def test_a_dense_layer_that_is_not_supported_or_another_than_its_file_is_refused(labse, config, named):
    write(labse, "2_Dense/config.json", {"in_features": 32, "out_features": 24, **config})
    with pytest.raises(SettingError, match=named if "in_features" not in config else "width 32 for the module"):
        Transformer.pretrained(str(labse), own_pooling=True)


def test_a_layer_without_weights_is_refused(labse):
    (labse / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(SettingError, match="2_Dense holds neither"):
        Transformer.pretrained(str(labse), own_pooling=True)


def test_a_file_that_runs_code_is_refused(labse):
    (labse / "2_Dense" / "model.safetensors").unlink()
    torch.save({"linear.weight": np.zeros(3, dtype=object)}, labse / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(FormatError, match="cannot be read as tensors"):
        Transformer.pretrained(str(labse), own_pooling=True)


def test_the_layer_is_trained_saved_and_the_start_of_another_run(labse, tmp_path):
    data = planted()
    before = Transformer.pretrained(str(labse), own_pooling=True).after_pooling.state_dict()
    model = megalabel.train(renee(data, encoder=str(labse), **LIGHT), tmp_path / "run", quiet=True)
    trained = model.encoder.after_pooling.state_dict()
    assert all(not torch.equal(trained[name], before[name]) for name in before)
    found = model.topk(data.test.texts[:9], 5)
    shutil.rmtree(labse)
    loaded = megalabel.load(tmp_path / "run")
    assert loaded.topk(data.test.texts[:9], 5) == found and loaded.encoder.dim == 24
    again = renee(data, encoder=str(tmp_path / "run"), **LIGHT).encoder
    torch.testing.assert_close(views(again, TEXTS), views(loaded.encoder, TEXTS))


def test_a_frozen_encoder_keeps_the_layer_as_it_is(labse, tmp_path):
    before = Transformer.pretrained(str(labse), own_pooling=True).after_pooling.state_dict()
    recipe = renee(planted(), encoder=str(labse), frozen=True, **LIGHT)
    encoder = megalabel.train(recipe, tmp_path / "run", quiet=True).encoder
    assert isinstance(encoder, Frozen) and encoder.dim == 24
    kept = encoder.inside.after_pooling.state_dict()
    assert all(torch.equal(kept[name], before[name]) for name in before)


def test_a_converted_folder_says_what_it_leaves_out(labse, tmp_path):
    torch.save(Transformer.pretrained(str(labse)).model.state_dict(), tmp_path / "state.pt")
    said = convert(str(labse), tmp_path / "state.pt", tmp_path / "new")
    assert "prompts and further modules of sentence-transformers are not written" in said
    assert not (tmp_path / "new" / "modules.json").exists()


@pytest.mark.parametrize("transformer", ["", "0_Transformer"])
@pytest.mark.parametrize("pooling", ["own", "first"])
def test_plans_count_the_layer_where_it_is_used(labse, tmp_path, transformer, pooling):
    if transformer:
        (labse / transformer).mkdir()
        for file in [path for path in labse.iterdir() if path.is_file() and "modules" not in path.name]:
            file.rename(labse / transformer / file.name)
        listed = json.loads((labse / "modules.json").read_text())
        write(labse, "modules.json", [{**listed[0], "path": transformer}, *listed[1:]])
    encoder = Transformer.pretrained(str(labse), own_pooling=pooling == "own")
    function = get("cascadexml")
    values = function.options(encoder=str(labse), pooling=pooling, shared_view=True).values()
    job = Job.of("cascadexml", values, Data(2000), 1)
    parts = {part.name: part.n_bytes for part in components_of(job, 0.0)}
    assert parts["encoder weights"] == sum(4 * tensor.numel() for tensor in encoder.state_dict().values())
    assert job.dim == encoder.dim == {"own": 24, "first": 32}[pooling]


def test_plans_count_the_layer_of_a_run(labse, tmp_path):
    encoder = Transformer.pretrained(str(labse), own_pooling=True)
    megalabel.train(renee(planted(), encoder=str(labse), **LIGHT), tmp_path / "run", quiet=True)
    shape = shape_of(str(tmp_path / "run"))
    assert shape.table() + shape.dense() == sum(tensor.numel() for tensor in encoder.state_dict().values())
    assert (shape.width, shape.after) == (24, 24 * 33)


@needs_export
def test_layer_and_prompt_are_exported(labse, tmp_path):
    from megalabel.onnx.export import export
    from megalabel.onnx.session import OnnxModel

    data = planted()
    write(labse, "1_Pooling/config.json", {"pooling_mode": ["cls", "max", "lasttoken"], "include_prompt": False})
    dense(labse, "2_Dense", 96, 24)
    model = megalabel.train(renee(data, encoder=str(labse), **LIGHT), tmp_path / "run", quiet=True)
    facts = export(tmp_path / "run", tmp_path / "out", k=5)
    texts = list(data.test.texts[:20])
    found, wanted = OnnxModel(tmp_path / "out").topk(texts), model.topk(texts, 5).numpy()
    assert facts["prompt"] == "w3a w4b " and model.encoder.n_prompt == 2
    np.testing.assert_allclose(found.scores, wanted[1], atol=1e-4)
