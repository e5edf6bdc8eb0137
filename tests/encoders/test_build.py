import pytest
import torch
from planted import planted

from megalabel.encoders import build
from megalabel.encoders.bag import Bag
from megalabel.encoders.start import start_vectors
from megalabel.encoders.transformer import Transformer
from megalabel.errors import SettingError
from megalabel.inputs.augment import TextRows
from megalabel.inputs.batches import pad
from megalabel.inputs.token_store import open_or_build_tokens
from megalabel.inputs.tokenizer import TextTokenizer


@pytest.fixture(scope="module")
def data():
    return planted(n_labels=10, n_texts=40, n_test=1)


def rows_of(data, tokenizer: TextTokenizer) -> TextRows:
    return TextRows(open_or_build_tokens(data, "trn", tokenizer, 16), data.train.labels)


def test_the_own_tokenizer_is_the_bundled_one(data):
    for encoder in ("bag", "small"):
        assert build.tokenizer_for(encoder, "wordpiece", data, 9).vocabulary_size == 30522


@pytest.mark.parametrize("kind", ["words", "symbols"])
def test_a_learnt_tokenizer_knows_training_and_label_texts_up_to_its_size(data, kind):
    whole = build.tokenizer_for("bag", kind, data, 1000)
    vocabulary = whole.tokenizer.get_vocab()
    assert {f"w{i}{part}" for i in range(10) for part in "ab"} <= vocabulary.keys()
    assert build.tokenizer_for("bag", kind, data, 7).vocabulary_size == 7


def test_words_are_split_at_signs_and_symbols_at_blanks(data):
    from megalabel.data.corpus import Corpus

    odd = Corpus.of(["F(x) = Y"], [[0]], ["label"])
    words, symbols = (build.tokenizer_for("bag", kind, odd, 50) for kind in ("words", "symbols"))
    assert {"f", "(", "x", ")"} <= words.tokenizer.get_vocab().keys()
    assert {"F(x)", "=", "Y"} <= symbols.tokenizer.get_vocab().keys()


def test_a_pretrained_encoder_brings_its_own(data):
    assert build.tokenizer_for("distilbert-base-uncased", "wordpiece", data, 9) is None
    with pytest.raises(SettingError, match="its own tokenizer"):
        build.tokenizer_for("distilbert-base-uncased", "words", data, 9)


def test_an_unknown_tokenizer_is_refused(data):
    with pytest.raises(SettingError, match="'letters'"):
        build.tokenizer_for("bag", "letters", data, 9)


def test_a_bag_starts_from_the_bundled_vectors_unless_its_tokenizer_is_learnt(data):
    own, words = (build.tokenizer_for("bag", kind, data, 1000) for kind in ("wordpiece", "words"))
    bundled = build.bag(own, rows_of(data, own), learned=False)
    learned = build.bag(words, rows_of(data, words), learned=True, dim=24)
    assert isinstance(bundled, Bag)
    assert torch.equal(bundled.table.weight.detach(), start_vectors())
    assert learned.table.weight.shape == (words.vocabulary_size, 24)
    assert not torch.equal(learned.weights, torch.ones_like(learned.weights))  # idf


def test_a_bag_gets_the_pairs_that_are_asked_for(data):
    words = build.tokenizer_for("bag", "words", data, 1000)
    rows = rows_of(data, words)
    none, some = (build.bag(words, rows, learned=True, bigram_min_count=pairs, dim=8) for pairs in (0, 2))
    assert len(none.bigrams) == 0
    assert len(some.bigrams) > 0
    assert len(some.weights) == len(some.table.weight) == words.vocabulary_size + len(some.bigrams)


def test_the_small_transformer_starts_from_the_bundled_vectors_unless_its_tokenizer_is_learnt(data):
    own, words = (build.tokenizer_for("small", kind, data, 1000) for kind in ("wordpiece", "words"))
    bundled = build.small(own, learned=False, max_length=16)
    learned = build.small(words, learned=True, max_length=16)
    assert isinstance(bundled, Transformer)
    table = bundled.model.get_input_embeddings().weight.detach()
    assert torch.allclose(table, start_vectors()[:, :128] * build.SMALL_SCALE)
    assert learned.model.get_input_embeddings().weight.shape == (words.vocabulary_size, 128)
    assert learned.dim == 128


def test_the_small_transformer_reads_texts_of_the_full_length(data):
    words = build.tokenizer_for("small", "words", data, 1000)
    encoder = build.small(words, learned=True, max_length=12).eval()
    ids = words.encode([" ".join(["w1a"] * 30), ""], 12)
    tokens, mask = pad([torch.tensor(row, dtype=torch.int64).numpy() for row in ids], words.pad_id)
    assert tokens.shape == (2, 12)
    assert torch.isfinite(encoder(tokens, mask)).all()
