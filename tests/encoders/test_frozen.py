import os
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import planted

from megalabel.encoders.frozen import Frozen
from megalabel.encoders.transformer import Transformer
from megalabel.errors import FormatError
from megalabel.inputs.augment import TextRows, WithLabelTexts
from megalabel.inputs.batches import Batches
from megalabel.inputs.token_store import TokenStore
from megalabel.storage.tensors import fill, save_tensors

CPU = torch.device("cpu")


@pytest.fixture
def frozen(tiny_bert) -> Frozen:
    torch.manual_seed(0)
    found = Frozen(Transformer.pretrained(str(tiny_bert)), hidden_dim=8)
    torch.nn.init.normal_(found.block.narrow.weight)
    return found


@pytest.fixture
def rows(frozen) -> WithLabelTexts:
    data = planted(n_labels=20, n_texts=50, n_test=1)
    texts, labels = (TokenStore.build(t, frozen.tokenizer, 16) for t in (data.train.texts, data.label_texts))
    return WithLabelTexts(TextRows(texts, data.train.labels), labels)


def count_calls(frozen: Frozen) -> list[int]:
    calls: list[int] = []
    frozen.inside.register_forward_hook(lambda module, given, out: calls.append(len(out)))
    return calls


def test_gradients_stay_outside(frozen, rows):
    frozen.train()
    batch = next(Batches(rows, 8, 1).from_step())
    frozen.views(batch).square().sum().backward()
    assert not any(p.requires_grad or p.grad is not None for p in frozen.inside.parameters())
    assert all(p.grad is not None and p.grad.any() for p in frozen.block.parameters())


def test_the_inside_stays_in_evaluation_mode(frozen):
    frozen.train()
    assert frozen.block.training and frozen.dropout.training
    assert not any(module.training for module in frozen.inside.modules())
    frozen.eval()
    assert not frozen.training and not frozen.block.training


def test_the_cache_is_direct_encoding_up_to_float16(frozen, rows, tmp_path):
    frozen.eval()
    batch = next(Batches(rows, 70, 1).from_step())
    direct = frozen.views(batch).detach()
    frozen.prepare(rows, tmp_path, CPU, batch_size=16)
    assert frozen.cache.shape == (70, 1, 32)
    assert frozen.cache.dtype == np.float16
    raw = frozen.inside(batch.tokens, batch.mask).detach()
    kept = torch.from_numpy(frozen.cache[batch.rows.numpy()]).float()
    assert torch.allclose(kept, raw, rtol=2e-3, atol=2e-3)
    assert torch.allclose(frozen.views(batch), direct, rtol=0.02, atol=0.02)


def test_training_reads_the_cache_and_new_texts_go_inside(frozen, rows, tmp_path):
    frozen.prepare(rows, tmp_path, CPU)
    calls = count_calls(frozen)
    batch = next(Batches(rows, 8, 1).from_step())
    frozen.views(batch)
    assert calls == []
    frozen(batch.tokens, batch.mask)
    assert calls == [8]


def test_a_cache_that_is_there_is_not_made_again(frozen, rows, tmp_path):
    calls = count_calls(frozen)
    frozen.prepare(rows, tmp_path, CPU, batch_size=16)
    assert sum(calls) == 70
    first = np.array(frozen.cache)
    frozen.prepare(rows, tmp_path, CPU, batch_size=16)
    assert sum(calls) == 70
    assert np.array_equal(frozen.cache, first)


def test_a_cache_of_other_rows_or_other_weights_is_not_taken(frozen, rows, tmp_path):
    calls = count_calls(frozen)
    frozen.prepare(rows, tmp_path, CPU)
    other = WithLabelTexts(rows.base, TokenStore(rows.label_store.ids[::-1], rows.label_store.offsets, {}))
    frozen.prepare(other, tmp_path, CPU)
    assert sum(calls) == 140
    with torch.no_grad():
        next(frozen.inside.parameters()).add_(1.0)
    frozen.prepare(rows, tmp_path, CPU)
    assert sum(calls) == 210


def test_a_cache_cut_short_is_refused_and_an_interrupted_one_leaves_nothing(frozen, rows, tmp_path, monkeypatch):
    def cut_off(*given: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(frozen, "_encoded", cut_off)
        with pytest.raises(KeyboardInterrupt):
            frozen.prepare(rows, tmp_path, CPU)
    assert list(tmp_path.iterdir()) == []
    frozen.prepare(rows, tmp_path, CPU)
    (path,) = tmp_path.iterdir()
    frozen.cache = None
    os.truncate(path, path.stat().st_size - 64)
    with pytest.raises(FormatError, match="damaged"):
        frozen.prepare(rows, tmp_path, CPU)


def test_settings_and_weights_come_back(frozen, rows, tmp_path: Path):
    frozen.eval()
    save_tensors(tmp_path / "f.safetensors", frozen.state_dict())
    again = Frozen.from_config(frozen.config(), frozen.tokenizer, tmp_path).eval()
    fill(again, tmp_path / "f.safetensors", next_step="copy it")
    batch = next(Batches(rows, 8, 1).from_step())
    assert torch.equal(again.views(batch), frozen.views(batch))
    assert again.config() == frozen.config()
