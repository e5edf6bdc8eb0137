"""Windows of long texts against a loop, and a transformer that averages their views."""

import pytest
import torch

from megalabel.encoders.readout import mean
from megalabel.encoders.transformer import Transformer
from megalabel.encoders.windows import average, split_windows, windowed_length
from megalabel.errors import SettingError


def by_hand(tokens: list[int], size: int, n_special: int) -> list[list[int]]:
    """The windows of one text, as their definition says."""
    before, after = (tokens[:1] if n_special == 2 else []), (tokens[-1:] if n_special else [])
    body = tokens[len(before) : len(tokens) - len(after)]
    inside = size - n_special
    return [before + body[i : i + inside] + after for i in range(0, max(len(body), 1), inside)]


@pytest.mark.parametrize("n_special", [0, 1, 2])
@pytest.mark.parametrize("size", [3, 5, 16])
def test_windows_are_those_of_the_definition(size, n_special):
    lengths = [n_special, n_special + 1, 3, 7, 13]
    texts = [list(range(100 * i + 1, 100 * i + 1 + n)) for i, n in enumerate(lengths)]
    width = max(lengths)
    tokens = torch.tensor([text + [0] * (width - len(text)) for text in texts])
    mask = torch.tensor([[True] * len(text) + [False] * (width - len(text)) for text in texts])
    cut = split_windows(tokens, mask, size, n_special, pad_id=-7)
    wanted = [(i, window) for i, text in enumerate(texts) for window in by_hand(text, size, n_special)]
    assert cut.texts.tolist() == [i for i, _ in wanted]
    assert [row[kept].tolist() for row, kept in zip(cut.tokens, cut.mask, strict=True)] == [w for _, w in wanted]
    assert (cut.tokens[~cut.mask] == -7).all()
    assert torch.allclose(torch.zeros(len(texts)).index_add(0, cut.texts, cut.shares), torch.ones(len(texts)))


def test_views_are_averaged_by_the_tokens_of_each_window():
    tokens, mask = torch.arange(1, 6)[None], torch.ones(1, 5, dtype=torch.bool)
    cut = split_windows(tokens, mask, 3, 0)
    views = torch.tensor([[[1.0]], [[6.0]]])
    assert average(views, cut, 1).item() == pytest.approx(0.6 * 1 + 0.4 * 6)


def test_a_window_must_hold_a_token():
    assert windowed_length(32, 4, 2) == 4 * 30 + 2
    with pytest.raises(SettingError) as raised:
        windowed_length(2, 4, 2)
    assert raised.value.where == "max_length"


def test_a_transformer_reads_windows_and_short_texts_alike(tiny_bert):
    plain = Transformer.pretrained(str(tiny_bert), readouts=[mean()]).eval()
    windowed = Transformer.pretrained(str(tiny_bert), readouts=[mean()], windows=3, window_length=8).eval()
    text = "w3a w3b w9a w9b w7a w1a w2a w3a w4a"
    tokens = torch.tensor(plain.tokenizer.encode([text], windowed_length(8, 3, plain.tokenizer.n_special)))
    mask = torch.ones_like(tokens, dtype=torch.bool)
    n_special = plain.tokenizer.n_special
    with torch.no_grad():
        found = windowed(tokens, mask)[0, 0]
        parts = by_hand(tokens[0].tolist(), 8, n_special)
        views = [plain(torch.tensor([p]), torch.ones(1, len(p), dtype=torch.bool))[0, 0] for p in parts]
        sizes = torch.tensor([len(p) - n_special for p in parts], dtype=torch.float32)
        wanted = (torch.stack(views) * (sizes / sizes.sum())[:, None]).sum(0)
        assert len(parts) > 1
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        short = tokens[:, :6]
        torch.testing.assert_close(windowed(short, mask[:, :6]), plain(short, mask[:, :6]))
    again = Transformer.from_config(windowed.config(), windowed.tokenizer, tiny_bert)
    assert (again.windows, again.window_length) == (3, 8)
