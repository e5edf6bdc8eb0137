"""The views of a transformer: readouts, padding, dropout, gradients, and settings that return."""

import json

import pytest
import torch

from megalabel.encoders.readout import concatenated, first_token, mean
from megalabel.encoders.transformer import Transformer
from megalabel.errors import FormatError, SettingError
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.storage.tensors import fill, save_tensors

TEXTS = ["w3a w3b noise4", "w1a", "noise1 w9b w9a noise2 w7a"]


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
        encoder = Transformer.pretrained(str(tiny_bert), gradient_checkpointing=checkpointing).train()
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
