"""Prompts of sentence-transformers: which one is put before texts, where it ends, and that models keep it."""

import json
import shutil

import pytest
import torch
from encoders.test_sentence_transformers import LIGHT, TEXTS, folder, modules, write  # noqa: F401
from encoders.test_transformer import padded
from planted import planted
from tokenizers import processors

import megalabel
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError
from megalabel.inputs.spans import token_spans
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.models.chunked import most_tokens
from megalabel.recipes.renee import renee
from megalabel.recipes.run_encoder import load_run_encoder

PROMPTS = {"query": "w3a w4b ", "document": "w5b ", "empty": "", "unused": None}


@pytest.fixture
def prompted(folder):  # noqa: F811
    write(folder, "config_sentence_transformers.json", {"prompts": PROMPTS, "default_prompt_name": "query"})
    return folder


def tokens(encoder: Transformer, texts: list[str] = TEXTS, length: int = 20) -> list[list[int]]:
    return encoder.tokenizer.encode(texts, length)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("default", "w3a w4b "), ("query", "w3a w4b "), ("document", "w5b "), ("empty", ""), ("none", ""),
        ("", ""), ("w7a: ", "w7a: "), ("unused", ""),
    ],
)  # fmt: skip
def test_a_prompt_is_the_default_a_name_or_a_text(prompted, tiny_bert, prompt, text):
    plain, own = Transformer.pretrained(str(tiny_bert)), Transformer.pretrained(str(prompted), prompt=prompt)
    assert tokens(own) == tokens(plain, [text + line for line in TEXTS])
    assert any(repr(text) in note for note in own.notes) == bool(text)


def test_a_name_that_is_no_prompt_is_refused_with_the_names_there_are(prompted, tiny_bert):
    with pytest.raises(SettingError, match=r"'qury' is no prompt.*query, document") as error:
        Transformer.pretrained(str(prompted), prompt="qury")
    assert error.value.where == "prompt" and "'qury: '" in str(error.value.next_step)
    with pytest.raises(SettingError, match="names no prompts"):
        Transformer.pretrained(str(tiny_bert), prompt="query")
    assert Transformer.pretrained(str(tiny_bert), prompt="query: ").tokenizer.prompt == "query: "


def test_prompts_without_a_default_are_told(prompted):
    write(prompted, "config_sentence_transformers.json", {"prompts": PROMPTS, "default_prompt_name": None})
    encoder = Transformer.pretrained(str(prompted))
    assert encoder.tokenizer.prompt == ""
    assert [note for note in encoder.notes if "query, document" in note]
    assert not [note for note in Transformer.pretrained(str(prompted), prompt="none").notes if "document" in note]


@pytest.mark.parametrize(
    "config",
    [{"prompts": ["query"]}, {"prompts": {"query": 3}}, {"prompts": {}, "default_prompt_name": "query"}, []],
)
def test_prompts_that_are_no_texts_by_names_are_refused(prompted, config):
    write(prompted, "config_sentence_transformers.json", config)
    if config:
        with pytest.raises(SettingError, match=r"config_sentence_transformers\.json"):
            Transformer.pretrained(str(prompted))
    else:
        assert Transformer.pretrained(str(prompted)).tokenizer.prompt == ""


def test_a_special_token_inside_a_text_does_not_repeat_the_prompt(prompted):
    encoder = Transformer.pretrained(str(prompted))
    encoder.tokenizer.tokenizer.add_special_tokens(["[SEP]"])
    separator = encoder.tokenizer.tokenizer.token_to_id("[SEP]")
    before, after = (encoder.tokenizer.with_prompt("").encode([part], 20)[0] for part in ("w3a w4b w1a", "w2b"))
    assert tokens(encoder, ["w1a [SEP] w2b"])[0] == [*before, separator, *after]


def surrounded(tokenizer: TextTokenizer) -> TextTokenizer:
    """A tokenizer that adds a special token before and one after a text, as BERT's does."""
    inside = tokenizer.tokenizer
    inside.add_special_tokens(["[CLS]", "[SEP]"])
    special = [(name, inside.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    inside.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return tokenizer


def test_the_tokens_of_a_prompt_are_counted_and_leave_room_for_the_text(prompted):
    plain = Transformer.pretrained(str(prompted)).tokenizer
    assert (plain.n_special, plain.n_added, plain.n_before) == (0, 2, 2)
    assert (plain.with_prompt("").n_added, plain.with_prompt("").n_before) == (0, 0)
    around = surrounded(plain)
    assert (around.n_special, around.n_added, around.n_before) == (2, 4, 3)
    with pytest.raises(SettingError, match="at least 5, since the tokenizer adds a prompt"):
        around.encode(TEXTS, 4)
    assert len(around.encode(TEXTS, 5)[0]) == 5


def test_the_words_of_a_text_are_found_behind_the_prompt(prompted):
    tokenizer = surrounded(Transformer.pretrained(str(prompted)).tokenizer)
    ids, spans, special = token_spans(tokenizer, "w1a  w2b", 9)
    assert ids == tokenizer.encode(["w1a  w2b"], 9)[0]
    assert special.tolist() == [True, True, True, False, False, True]
    assert [tuple(span) for span in spans[~special].tolist()] == [(0, 3), (5, 8)]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"])
def test_a_pooling_without_the_prompt_reads_the_tokens_after_it(prompted, pooling):
    write(prompted, "1_Pooling/config.json", {"pooling_mode": pooling, "include_prompt": False})
    encoder = Transformer.pretrained(str(prompted), own_pooling=True).eval()
    ids, mask = padded(encoder, TEXTS)
    with torch.no_grad():
        found = encoder(ids, mask)[:, 0]
        hidden = encoder.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    for text, length, view in zip(hidden, mask.sum(1).tolist(), found, strict=True):
        own = text[2:length]
        places = torch.arange(3, length + 1.0)
        wanted = {
            "mean": own.mean(0), "cls": own[0], "max": own.amax(0), "lasttoken": own[-1],
            "weightedmean": places @ own / places.sum(), "mean_sqrt_len_tokens": own.sum(0) / len(own) ** 0.5,
        }[pooling]  # fmt: skip
        torch.testing.assert_close(view, wanted, rtol=1e-4, atol=1e-5)


def test_only_the_window_that_begins_a_text_leaves_the_prompt_out(prompted):
    write(prompted, "1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False})
    windows = {"windows": 2, "window_length": 4}
    encoder = Transformer.pretrained(str(prompted), own_pooling=True, **windows).eval()
    ids, mask = padded(encoder, ["w1a w2b w5a w7b w9a w1b"])
    parts = ids.reshape(2, 4)
    with torch.no_grad():
        hidden = encoder.model(input_ids=parts, attention_mask=torch.ones_like(parts)).last_hidden_state
        wanted = (hidden[0, 2:].mean(0) + hidden[1].mean(0)) / 2
        torch.testing.assert_close(encoder(ids, mask)[0, 0], wanted, rtol=1e-4, atol=1e-5)


def test_a_model_keeps_its_prompt_and_starts_another_one_with_it(prompted, tmp_path):
    data = planted()
    texts = data.test.texts[:9]
    write(prompted, "1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False})
    recipe = renee(data, encoder=str(prompted), prompt="document", **LIGHT)
    model = megalabel.train(recipe, tmp_path / "run", quiet=True)
    found = model.topk(texts, 5)
    shutil.rmtree(prompted)
    loaded = megalabel.load(tmp_path / "run")
    assert loaded.topk(texts, 5) == found and loaded.encoder.tokenizer.prompt == "w5b "
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["arguments"]["prompt"] == "document"
    assert most_tokens(loaded) == LIGHT["max_length"] - 1
    start = {**LIGHT, "encoder": str(tmp_path / "run")}
    kept, none = renee(data, **start).encoder, renee(data, prompt="none", **start).encoder
    assert (kept.tokenizer.prompt, kept.n_prompt) == ("w5b ", 1)
    assert (none.tokenizer.prompt, none.n_prompt) == ("", 0)
    assert load_run_encoder(start["encoder"], prompt="w7a: ").tokenizer.prompt == "w7a: "
    with pytest.raises(
        SettingError, match=r"'query' is no prompt.* which names no prompts; expected default, none, a text"
    ):
        load_run_encoder(start["encoder"], prompt="query")


@pytest.mark.parametrize("name", ["bag", "small"])
def test_an_encoder_without_a_pretraining_has_no_prompt(name):
    with pytest.raises(SettingError, match="prompt"):
        renee(planted(), encoder=name, prompt="query: ")


def test_explanations_and_their_words_leave_the_prompt_out(prompted, tmp_path):
    recipe = renee(planted(), encoder=str(prompted), **LIGHT)
    model = megalabel.train(recipe, tmp_path / "run", quiet=True)
    found = model.explain("w1a w2b", model.label_texts[0])
    assert [found.text[word.start : word.end] for word in found.words] == ["w1a", "w2b"]
    assert found.base + sum(word.contribution for word in found.words) == pytest.approx(
        found.value, rel=0.02, abs=1e-3
    )
