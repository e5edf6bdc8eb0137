"""Folders of sentence-transformers: their pooling, prompt and lower case, and what is told or refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from encoders.test_transformer import padded
from planted import planted

import megalabel
from megalabel.encoders.readout import POOLINGS, Readout
from megalabel.encoders.sentence_transformers import settings_of
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError
from megalabel.recipes.dexml import dexml
from megalabel.recipes.renee import renee
from megalabel.recipes.spartex import spartex

LIGHT = {"epochs": 1, "max_length": 12, "batch_size": 64, "warmup": 0.1, "encoder_lr": 1e-3}
TEXTS = ["w1a w2b noise3", "w5a", "w1a w1b w2a w7b noise1"]


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def modules(*kinds: str) -> list[dict[str, object]]:
    """As sentence-transformers lists them; the transformer is in the folder itself."""
    return [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """The tiny BERT as a folder of sentence-transformers, which pools by the last token and has a prompt."""
    path = Path(shutil.copytree(tiny_bert, tmp_path / "sentences"))
    write(path, "modules.json", modules("Transformer", "Pooling", "Normalize"))
    write(path, "1_Pooling/config.json", {"embedding_dimension": 32, "pooling_mode": "lasttoken"})
    prompts = {"prompts": {"query": "w3a w4b ", "document": "w5b "}, "default_prompt_name": "query"}
    write(path, "config_sentence_transformers.json", prompts)
    return path


def views(encoder: Transformer, texts: list[str]) -> torch.Tensor:
    with torch.no_grad():
        return encoder.eval()(*padded(encoder, texts))[:, 0]


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode": "cls"}, "first"), ({"pooling_mode": ["mean"]}, "mean"), ({}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_weightedmean_tokens": True}, "weighted_mean"), ({"pooling_mode_cls_token": True}, "first"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "sqrt_mean"), ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": ["mean", "cls"]}, "mean+first"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "first+mean"),
    ],
)  # fmt: skip
def test_poolings_are_read_from_newer_and_older_files(folder, config, pooling):
    write(folder, "1_Pooling/config.json", config)
    settings = settings_of(str(folder))
    assert (settings.pooling, settings.include_prompt, settings.after) == (pooling, True, ())


def test_a_pooling_that_is_not_done_is_told_and_cannot_be_asked_for(folder):
    write(folder, "1_Pooling/config.json", {"pooling_mode": "attention"})
    encoder = Transformer.pretrained(str(folder), own_pooling=None)
    assert encoder.readouts == (Readout(),)
    assert [note for note in encoder.notes if "which is not supported" in note]
    with pytest.raises(SettingError, match="states no pooling"):
        Transformer.pretrained(str(folder), own_pooling=True)


def test_texts_are_put_into_lower_case_where_the_folder_says_so(folder):
    tokenizer = Transformer.pretrained(str(folder)).tokenizer
    tokenizer.tokenizer.normalizer = None
    assert tokenizer.encode(["W1A"], 9) != tokenizer.encode(["w1a"], 9)
    write(folder, "sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": True})
    tokenizer = Transformer.pretrained(str(folder)).tokenizer
    assert tokenizer.encode(["W1A"], 9) == tokenizer.encode(["w1a"], 9)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_of_a_padded_batch_are_those_of_each_text(tiny_bert, pooling):
    encoder = Transformer.pretrained(str(tiny_bert), readouts=[Readout(pooling=pooling)])
    together = views(encoder, TEXTS)
    with torch.no_grad():
        for text, found in zip(TEXTS, together, strict=True):
            tokens, mask = padded(encoder, [text])
            hidden = encoder.model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state[0]
            n = len(hidden)
            wanted = {
                "mean": hidden.mean(0), "first": hidden[0], "last": hidden[-1], "max": hidden.amax(0),
                "weighted_mean": torch.arange(1, n + 1.0) @ hidden / (n * (n + 1) / 2),
                "sqrt_mean": hidden.sum(0) / n**0.5,
            }[pooling]  # fmt: skip
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_transformer_in_a_folder_of_its_own_is_found(folder, tiny_bert):
    for file in tiny_bert.iterdir():
        (folder / "0_Transformer").mkdir(exist_ok=True)
        (folder / file.name).rename(folder / "0_Transformer" / file.name)
    listed = modules("Transformer", "Pooling")
    listed[0]["path"] = "0_Transformer"
    write(folder, "modules.json", listed)
    encoder = Transformer.pretrained(str(folder), own_pooling=True)
    assert encoder.readouts == (Readout(pooling="last"),)


@pytest.mark.parametrize("listed", [{}, [], "no JSON", [{"idx": 0}]])
def test_folders_that_sentence_transformers_does_not_write_are_refused(folder, listed):
    write(folder, "modules.json", listed)
    if listed == "no JSON":
        (folder / "modules.json").write_text("{")
    with pytest.raises(SettingError, match="no encoder"):
        Transformer.pretrained(str(folder))


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        (["WordEmbeddings", "Pooling"], "WordEmbeddings"), (["StaticEmbedding"], "StaticEmbedding"),
        (["Router"], "Router"), (["Transformer", "CNN", "Pooling"], "CNN after Transformer"),
        (["Transformer", "WeightedLayerPooling", "Pooling"], "WeightedLayerPooling"),
        (["Transformer", "Dense", "Pooling"], "Dense after Transformer"),
        (["Transformer", "Pooling", "LSTM"], "LSTM after Pooling"),
        (["Transformer", "Pooling", "Pooling"], "Pooling after Pooling"),
    ],
)  # fmt: skip
def test_modules_that_are_not_supported_are_named(folder, kinds, named):
    write(folder, "modules.json", modules(*kinds))
    with pytest.raises(SettingError, match=named) as error:
        Transformer.pretrained(str(folder))
    assert error.value.where == "encoder" and error.value.next_step
    assert ("encoder bag" in error.value.next_step) == (named == "StaticEmbedding")


def test_a_class_of_another_package_is_not_taken_for_one_of_sentence_transformers(folder):
    listed = modules("Transformer", "Pooling")
    write(folder, "modules.json", [{**listed[0], "type": "custom_st.Transformer"}, listed[1]])
    with pytest.raises(SettingError, match=r"custom_st\.Transformer"):
        Transformer.pretrained(str(folder))


@pytest.mark.parametrize("path", ["../tiny", "/etc", "a/../../b", "..\\x", "C:\\x"])
def test_no_path_leads_out_of_the_folder(folder, path):
    write(folder, "modules.json", [{**modules("Transformer")[0], "path": path}])
    with pytest.raises(SettingError, match="not inside the folder"):
        Transformer.pretrained(str(folder))


def test_recipes_without_a_choice_take_the_pooling_and_others_by_their_option(folder, tiny_bert):
    data = planted()
    assert renee(data, encoder=str(folder), **LIGHT).encoder.readouts[0].pooling == "last"
    assert renee(data, encoder=str(tiny_bert), **LIGHT).encoder.readouts[0].pooling == "mean"
    options = {**LIGHT, "encoder": str(folder)}
    assert dexml(data, **options).encoder.readouts[0].pooling == "first"
    assert dexml(data, pooling="own", **options).encoder.readouts[0].pooling == "last"
    assert dexml(data, pooling="max", **options).encoder.readouts[0].pooling == "max"
    more = {"fan_in": 8, "prune": "none", "last_layers": 2, "epochs": 20}
    found = spartex(data, pooling="own", **{**options, **more}).encoder.readouts[0]
    assert found == Readout((1.0, 0.5), "last")
    for wrong in ({**LIGHT, "encoder": str(tiny_bert)}, {**LIGHT, "encoder": "small"}):
        with pytest.raises(SettingError, match="pooling"):
            dexml(data, pooling="own", **wrong)


def test_a_model_needs_neither_file_to_answer_as_before(folder, tmp_path):
    data = planted()
    model = megalabel.train(renee(data, encoder=str(folder), **LIGHT), tmp_path / "run", quiet=True)
    found = model.topk(data.test.texts[:9], 5)
    shutil.rmtree(folder)
    assert megalabel.load(tmp_path / "run").topk(data.test.texts[:9], 5) == found
