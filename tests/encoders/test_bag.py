from itertools import pairwise

import numpy as np
import pytest
import torch

from megalabel.data.texts import Texts
from megalabel.encoders.bag import Bag, frequent_bigrams, idf_weights
from megalabel.errors import SettingError
from megalabel.inputs.augment import TextRows
from megalabel.inputs.token_store import TokenStore
from megalabel.inputs.tokenizer import TextTokenizer, learn_tokenizer
from megalabel.storage.tensors import fill, save_tensors

WORDS = [f"w{i}" for i in range(20)]
N = len(WORDS) + 2  # with padding and unknown


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return learn_tokenizer([" ".join(WORDS)], 100)


def codes(*pairs: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(sorted(a * N + b for a, b in pairs))


def padded(texts: list[list[int]], width: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    width = max([width, 1, *map(len, texts)])
    mask = torch.tensor([[t < len(ids) for t in range(width)] for ids in texts])
    return torch.tensor([ids + [0] * (width - len(ids)) for ids in texts]), mask


def summed(bag: Bag, ids: list[int]) -> np.ndarray:
    """The weighted sum of one text's tokens and pairs, at unit scale, in float64."""
    table, weights = (t.detach().double().numpy() for t in (bag.table.weight, bag.weights))
    known = {int(code): i for i, code in enumerate(bag.bigrams)}
    units = list(ids)
    for left, right in pairwise(ids):
        if left * bag.n_tokens + right in known:
            units.append(bag.n_tokens + known[left * bag.n_tokens + right])
    total, square = np.zeros(table.shape[1]), 0.0
    for unit in units:
        total += weights[unit] * table[unit]
        square += weights[unit] ** 2
    return total / max(np.sqrt(square), 1e-6)


def by_hand(bag: Bag, ids: list[int], view: int = 0) -> np.ndarray:
    """One text in float64; the block's and the map's products are left to the modules' own weights."""
    x = summed(bag, ids)
    x = (x - x.mean()) / np.sqrt(x.var() + bag.norm.eps)
    x = x * bag.norm.weight.detach().numpy() + bag.norm.bias.detach().numpy()
    out = torch.from_numpy(x)
    for module in (bag.blocks[view], bag.widen):
        if module is not None:
            out = module.double()(out)
            module.float()
    return out.detach().numpy()


def some_bag(tokenizer: TextTokenizer, **arguments: object) -> Bag:
    torch.manual_seed(0)
    pairs = codes((2, 3), (3, 4), (9, 2))
    weights = torch.rand(N + len(pairs)) + 0.5
    bag = Bag(tokenizer, dim=8, bigrams=pairs, weights=weights, hidden_dim=6, **arguments)
    with torch.no_grad():
        for parameter in bag.parameters():
            parameter.normal_()
    return bag.eval()


@pytest.mark.parametrize("width", [0, 5])
def test_the_views_are_those_of_a_plain_loop(tokenizer, width):
    bag = some_bag(tokenizer, width=width)
    texts = [[2, 3, 4, 2], [5], [9, 2, 3], [7, 7, 7, 7, 7], []]
    before_norm: list[torch.Tensor] = []
    bag.norm.register_forward_pre_hook(lambda module, given: before_norm.append(given[0].detach()))
    found = bag(*padded(texts))
    assert found.shape == (5, 1, width or 8)
    assert bag.dim == (width or 8)
    assert np.allclose(before_norm[0].numpy(), [summed(bag, ids) for ids in texts], atol=1e-5)
    for ids, view in zip(texts, found, strict=True):
        assert np.allclose(view[0].detach().numpy(), by_hand(bag, ids), atol=1e-5)


def test_every_view_has_a_block_of_its_own(tokenizer):
    bag = some_bag(tokenizer, n_views=3, width=5)
    found = bag(*padded([[2, 3, 4, 2]]))
    assert found.shape == (1, bag.n_views, 5) == (1, 3, 5)
    for view in range(3):
        assert np.allclose(found[0, view].detach().numpy(), by_hand(bag, [2, 3, 4, 2], view), atol=1e-5)
    assert not torch.allclose(found[0, 0], found[0, 1], atol=1e-2)


def test_padding_changes_nothing(tokenizer):
    bag, texts = some_bag(tokenizer), [[2, 3, 4], [5, 6], []]
    wide = bag(*padded(texts, width=9))
    assert torch.equal(bag(*padded(texts)), wide)
    for ids, view in zip(texts, wide, strict=True):
        assert torch.allclose(bag(*padded([ids]))[0], view, atol=1e-6)


def test_order_counts_only_through_pairs(tokenizer):
    with_pairs, without = some_bag(tokenizer), Bag(tokenizer, dim=8).eval()
    one, other = padded([[2, 3, 4, 8]]), padded([[8, 4, 3, 2]])
    assert torch.allclose(without(*one), without(*other), atol=1e-6)
    assert not torch.allclose(with_pairs(*one), with_pairs(*other), atol=1e-2)


def test_a_pair_does_not_reach_across_the_end_of_a_text(tokenizer):
    bag = some_bag(tokenizer)
    tokens, mask = padded([[2]], width=2)
    tokens[0, 1] = 3  # (2, 3) is a known pair, but the 3 is behind the end
    assert torch.equal(bag(tokens, mask), bag(*padded([[2]])))


def test_a_batch_of_empty_texts_has_views_and_gradients(tokenizer):
    bag = some_bag(tokenizer).train()
    views = bag(*padded([[], []]))
    views.square().sum().backward()
    assert torch.isfinite(views).all()
    torch.testing.assert_close(views[0], views[1])  # two rows of one product may be rounded differently
    assert bag.table.weight.grad.coalesce().indices().numel() == 0


def test_only_touched_rows_have_a_gradient(tokenizer):
    bag = some_bag(tokenizer).train()
    bag(*padded([[2, 3, 5], [5]])).square().sum().backward()
    gradient = bag.table.weight.grad
    assert gradient.is_sparse
    pair = N + bag.bigrams.tolist().index(2 * N + 3)
    assert gradient.coalesce().indices()[0].tolist() == [2, 3, 5, pair]


def test_no_token_is_dropped_outside_training(tokenizer):
    bag, text = some_bag(tokenizer, token_dropout=0.5), padded([list(range(2, 18))])
    assert torch.equal(bag(*text), bag(*text))
    bag.train()
    torch.manual_seed(1)
    assert not torch.allclose(bag(*text), bag(*text), atol=1e-3)


def test_settings_and_weights_come_back(tokenizer, tmp_path):
    bag = some_bag(tokenizer, width=5, dropout=0.25, token_dropout=0.1)
    save_tensors(tmp_path / "bag.safetensors", bag.state_dict())
    again = Bag.from_config(bag.config(), tokenizer, tmp_path).eval()
    fill(again, tmp_path / "bag.safetensors", next_step="copy it")
    text = padded([[2, 3, 4, 2], [9, 2], []])
    assert torch.equal(again.bigrams, bag.bigrams)
    assert torch.equal(again(*text), bag(*text))
    assert again.config() == bag.config()


def test_pairs_begin_at_zero_and_given_vectors_are_taken(tokenizer):
    vectors = torch.randn(N, 4)
    bag = Bag(tokenizer, vectors=vectors, bigrams=codes((2, 3)))
    assert torch.equal(bag.table.weight[:N], vectors)
    assert not bag.table.weight[N:].any()


def test_vectors_of_another_vocabulary_are_refused(tokenizer):
    with pytest.raises(SettingError, match=f"7 token vectors for a vocabulary of {N}"):
        Bag(tokenizer, vectors=torch.zeros(7, 4))


def rows_of(tokenizer: TextTokenizer, texts: list[str]) -> TextRows:
    import scipy.sparse as sp

    store = TokenStore.build(Texts.from_strings(texts), tokenizer, 16)
    return TextRows(store, sp.csr_matrix((len(texts), 1), dtype=np.float32))


def test_frequent_pairs_count_texts_and_not_occurrences(tokenizer):
    rows = rows_of(tokenizer, ["w0 w1 w0 w1", "w1 w0", "w0 w1 w2", "", "w2"])
    id_of = {word: tokenizer.encode([word], 4)[0][0] for word in WORDS}

    def code(left: str, right: str) -> int:
        return id_of[left] * N + id_of[right]

    both = sorted([code("w0", "w1"), code("w1", "w0")])
    assert frequent_bigrams(rows, N).tolist() == both
    assert frequent_bigrams(rows, N, 1).tolist() == sorted([*both, code("w1", "w2")])
    assert frequent_bigrams(rows, N, 3).tolist() == []
    assert frequent_bigrams(rows_of(tokenizer, []), N).tolist() == []


def test_idf_weights_against_counting(tokenizer):
    texts = ["w0 w1 w0 w1", "w1 w0", "w0 w1 w2", "", "w2"]
    rows, pairs = rows_of(tokenizer, texts), None
    pairs = frequent_bigrams(rows, N)
    found = idf_weights(rows, N, pairs)
    sides = [tokenizer.encode([text], 16)[0] for text in texts]
    holders = [sum(i in ids for ids in sides) for i in range(N)]
    holders += [sum(int(c) in [a * N + b for a, b in pairwise(s)] for s in sides) for c in pairs]
    assert holders[N:] == [2, 2]
    assert np.allclose(found.numpy(), np.log(6 / (1 + np.array(holders))) + 1, atol=1e-6)
    assert found.dtype == torch.float32
