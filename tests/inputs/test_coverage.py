"""Word pieces for scripts that the bundled vocabulary does not cover."""

import random

import pytest

from megalabel.encoders.start import start_tokenizer
from megalabel.inputs.coverage import MIN_UNCOVERED, coverage, covering, extend, script_of

ENGLISH = ["a large striped wild cat of Asia", "café, naïve and coöperate", "2 + 2 = 4"]
WORDS = {
    "THAI": "แมว สุนัข ปลา นก ม้า วัว ฉัน ชอบ มาก".split(),
    "KHMER": "ឆ្មា ឆ្កែ ត្រី បក្សី សេះ គោ ខ្ញុំ".split(),
    "CJK": list("猫狗鱼鸟马牛我喜欢非常看见"),
    "CYRILLIC": "кошка собака рыба птица лошадь корова".split(),
    "ETHIOPIC": "ድመት ውሻ ዓሣ ወፍ ፈረስ ላም".split(),
    "SYMBOLS": list("🐱🐶🐟🐦🐴🐮"),
}


def sentences(words: list[str], n: int = 200, seed: int = 0, blank: str = "") -> list[str]:
    draw = random.Random(seed)
    return [blank.join(draw.choices(words, k=6)) for _ in range(n)]


@pytest.mark.parametrize("script", WORDS)
def test_words_of_other_scripts_are_covered_after_extending(script):
    texts = sentences(WORDS[script], blank=" " if script in ("CYRILLIC", "ETHIOPIC") else "")
    before = start_tokenizer()
    found = coverage(before, texts)
    assert found.fraction > 0.3
    assert set(found.uncovered) == {script}
    after = extend(before, [texts], 1000)
    assert coverage(after, texts).fraction == 0
    new = sentences(WORDS[script], seed=1, blank=" " if script in ("CYRILLIC", "ETHIOPIC") else "")
    assert all(after.unknown_id not in ids for ids in after.encode(new, 100))
    assert extend(before, [texts], 5).vocabulary_size <= before.vocabulary_size + 5


def test_words_that_were_covered_keep_their_tokens():
    before = start_tokenizer()
    after = extend(before, [sentences(WORDS["THAI"])], 500)
    assert after.encode(ENGLISH, 50) == before.encode(ENGLISH, 50)
    mixed = "a wild cat แมว in the house"
    assert [i for i in after.encode([mixed], 50)[0] if i < before.vocabulary_size] == [
        i for i in before.encode([mixed], 50)[0] if i != before.unknown_id
    ]


def test_english_is_covered_and_keeps_the_bundled_tokenizer():
    tokenizer = start_tokenizer()
    assert coverage(tokenizer, ENGLISH).fraction < MIN_UNCOVERED
    assert covering(tokenizer, [ENGLISH, ENGLISH], 100) is tokenizer
    assert tokenizer.note == ""
    assert coverage(tokenizer, []).fraction == 0


def test_the_note_says_what_was_not_covered():
    learned = covering(start_tokenizer(), [sentences(WORDS["THAI"]), []], 500)
    assert "word pieces learned" in learned.note
    assert "100% of Thai" in learned.note


def test_sentences_without_blanks_longer_than_wordpiece_reads_are_known():
    texts = sentences(WORDS["THAI"])
    after = extend(start_tokenizer(), [texts], 500)
    long = "".join(texts[:50])
    assert len(long) > 500
    assert after.unknown_id not in after.encode([long], 1000)[0]


def test_scripts_have_the_first_word_of_the_name_of_the_first_character():
    assert [script_of(w) for w in ("abc", "แมว", "x猫", "🐱", "é")] == ["ASCII", "THAI", "CJK", "SYMBOLS", "LATIN"]


def test_a_surrogate_half_does_not_stop_measuring():
    assert coverage(start_tokenizer(), ["a \ud83d text é"]).words.total() > 0
