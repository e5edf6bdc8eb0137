"""Tokens for the words that the bundled word pieces split."""

import random

import pytest
import torch

from megalabel.data.corpus import Corpus
from megalabel.encoders.build import tokenizer_for, vectors_for
from megalabel.encoders.start import start_tokenizer, start_vectors
from megalabel.inputs.split_words import MANY_SPLIT, MIN_COUNT, split_share, split_words, with_split_words

ENGLISH = ["a large striped wild cat of Asia", "the playgrounds of unicycles in the house"]
LANGUAGES = {
    "German": "Die Würde des Menschen ist unantastbar. Sie zu achten und zu schützen ist Verpflichtung",
    "Finnish": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan",
    "Spanish": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y dotados de razón",
}


def words_of(tokenizer, text):
    return [tokenizer.tokenizer.id_to_token(i) for i in tokenizer.encode([text], 80)[0]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_languages_in_latin_script_get_whole_words(language):
    sentence = LANGUAGES[language]
    before = start_tokenizer()
    assert split_share(before, [sentence]) > 1.5 * MANY_SPLIT
    after = with_split_words(before, [[sentence] * MIN_COUNT, []], 500)
    assert "words learned" in after.note
    assert split_share(after, [sentence]) == 0
    assert len(words_of(after, sentence)) == len(sentence.replace(".", " .").split())


def test_english_keeps_the_bundled_tokenizer():
    tokenizer = start_tokenizer()
    assert split_share(tokenizer, ENGLISH) < MANY_SPLIT
    assert with_split_words(tokenizer, [ENGLISH * MIN_COUNT, []], 100) is tokenizer
    assert split_share(tokenizer, []) == 0
    assert split_share(tokenizer, ["", "?", "12345678901234567890", "猫 แมว"]) == 0


def test_words_that_are_not_learned_keep_their_pieces():
    before, text = start_tokenizer(), LANGUAGES["Finnish"]
    after = with_split_words(before, [[text] * MIN_COUNT, []], 500)
    for other in (*ENGLISH, LANGUAGES["German"]):
        assert after.encode([other], 80) == before.encode([other], 80)
    assert [after.tokenizer.id_to_token(i) for i in range(before.vocabulary_size)] == [
        before.tokenizer.id_to_token(i) for i in range(before.vocabulary_size)
    ]


def test_rare_words_are_not_learned_and_frequent_ones_first():
    tokenizer, draw = start_tokenizer(), random.Random(0)
    rare = "zyzzogeton"
    texts = (
        ["quuxifications thymelaeaceae"] * 12 + ["thymelaeaceae"] + [f"{rare} {i}" for i in range(MIN_COUNT - 1)]
    )
    draw.shuffle(texts)
    assert split_words(tokenizer, [texts], 10) == ["thymelaeaceae", "quuxifications"]
    assert split_words(tokenizer, [texts], 1) == ["thymelaeaceae"]
    assert with_split_words(tokenizer, [texts, []], 0) is tokenizer


def test_words_count_in_training_and_label_texts_together():
    text = LANGUAGES["Finnish"]
    half = [text] * (MIN_COUNT // 2)
    assert "oikeuksiltaan" in split_words(start_tokenizer(), [half, half], 100)
    assert split_words(start_tokenizer(), [half, []], 100) == []


def test_a_text_of_one_learned_word_keeps_the_vector_that_the_bag_gave_it():
    before, vectors, word = start_tokenizer(), start_vectors(), "oikeuksiltaan"
    pieces = before.encode([word], 50)[0]
    after = with_split_words(before, [[LANGUAGES["Finnish"]] * MIN_COUNT, []], 100)
    row = vectors_for(after)[after.encode([word], 50)[0][0]]
    torch.testing.assert_close(row, vectors[pieces].sum(0) / len(pieces) ** 0.5)
    torch.testing.assert_close(vectors_for(after)[: len(vectors)], vectors)


def test_bag_and_small_learn_words_and_pretrained_encoders_do_not():
    corpus = Corpus.of([LANGUAGES["German"]] * MIN_COUNT, [["dignity"]] * MIN_COUNT)
    assert "unantastbar" in tokenizer_for("bag", "wordpiece", corpus, 1000).tokenizer.get_vocab()
    assert "unantastbar" in tokenizer_for("small", "wordpiece", corpus, 1000).tokenizer.get_vocab()
    assert tokenizer_for("minilm", "wordpiece", corpus, 1000) is None
