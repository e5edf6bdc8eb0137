"""The training rows of linear models: which words are learned, and whether label texts are rows."""

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.errors import DataError
from megalabel.linear.training_rows import WordFeatureOptions

TEXTS = Texts.from_strings(["red wine", "white wine", "dark beer", "pale beer"])
LABELS = sp.csr_matrix(np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=np.float32))
NAMES = Texts.from_strings(["wine", "beer", "cider"])
OTHERS = sp.csr_matrix(LABELS.toarray()[:, [1, 0, 2]])  # every text has the label that it is not like


def rows(label_texts, labels=LABELS, names=NAMES, texts=TEXTS, **more):
    said = []
    options = dict(
        token_pattern="letters",
        bigrams=False,
        bigram_weight=1.0,
        char_ngrams="no",
        char_ngram_lengths=(3, 5),
        char_ngrams_max_words=0,
        vocabulary=1000,
        min_texts=1,
    )
    words = WordFeatureOptions(**{**options, **more}, label_texts=label_texts)
    return words.rows(texts, labels, names, seed=0, say=said.append), said


@pytest.mark.parametrize(
    ("label_texts", "labels", "added"),
    [
        ("no", LABELS, []),
        ("yes", LABELS, [0, 1, 2]),
        ("auto", LABELS, [0, 1, 2]),
        ("yes", OTHERS, [0, 1, 2]),
        ("auto", OTHERS, []),
    ],
    ids=["no", "yes", "auto", "yes though wrong", "auto where wrong"],
)
def test_label_texts_are_rows_where_wanted(label_texts, labels, added):
    made, _ = rows(label_texts, labels)
    n = 4 + len(added)
    assert made.label_text_rows.tolist() == added
    assert made.x.shape == (n, made.text.size)
    assert made.labels.shape == (n, 3)
    assert np.array_equal(made.labels.toarray(), np.concatenate([labels.toarray(), np.eye(3)[added]]))
    both = [*TEXTS, *(NAMES[i] for i in added)]
    assert np.array_equal(made.x.toarray(), made.text.transform(both).toarray())
    assert np.allclose(sp.linalg.norm(made.x, axis=1), 1)


def test_words_of_label_texts_are_known_only_where_these_are_rows():
    for label_texts, labels in (("no", LABELS), ("auto", OTHERS)):
        assert sorted(rows(label_texts, labels)[0].text.words) == ["beer", "dark", "pale", "red", "white", "wine"]
    assert np.array_equal(rows("no")[0].text.idf, rows("auto", OTHERS)[0].text.idf)
    for label_texts in ("yes", "auto"):
        assert "cider" in rows(label_texts)[0].text.words


def test_a_label_text_without_a_known_word_is_no_row():
    made, _ = rows("yes", names=Texts.from_strings(["wine", " .", "cider"]))
    assert made.label_text_rows.tolist() == [0, 2]
    assert rows("auto", names=Texts.blank(3))[0].label_text_rows.tolist() == []


def test_the_lines_say_what_was_decided_and_made():
    decided = "used as training rows (for the most similar quarter of a sample, the label is correct in"
    assert rows("no")[1] == ["features: 6 features in 4 rows, 8 values"]
    assert rows("auto")[1] == [f"label texts: {decided} 100%)", "features: 7 features in 7 rows, 11 values"]
    assert rows("auto", OTHERS)[1] == [
        f"label texts: not {decided} 0%)",
        "features: 6 features in 4 rows, 8 values",
    ]
    assert rows("yes", OTHERS)[1][0] == f"label texts: {decided} 0%)"


def test_bigrams_and_character_ngrams_are_features():
    plain, pairs = rows("no")[0].text, rows("no", bigrams=True)[0].text
    pieces = rows("no", char_ngrams="yes")[0].text
    assert pairs.size > plain.size
    assert pieces.n_word_features == plain.n_word_features == plain.size < pieces.size
    assert {3, 4, 5} == {len(piece) for piece in pieces.char_ngrams}
    assert len(rows("no", char_ngrams="yes", char_ngrams_max_words=2)[0].text.char_ngrams) == len(
        pieces.char_ngrams
    )
    without, said = rows("no", char_ngrams="yes", char_ngrams_max_words=1)  # the texts have two words each
    assert len(without.text.char_ngrams) == 0
    assert said[0] == "character n-grams: not used (half of the texts have more than 1 words)"
    assert rows("no", vocabulary=2)[0].text.words == ["beer", "wine"]
    assert rows("no", min_texts=2)[0].text.words == ["beer", "wine"]


def test_character_ngrams_are_used_where_words_do_not_repeat():
    draw = np.random.default_rng(0)
    parts = ["ปลา", "แมว", "นก", "ฉัน", "ชอบ", "มาก", "เห็น", "ใน", "บ้าน", "วันนี้", "และ", "ตัว", "สวน"]
    written = ["".join(draw.choice(parts, 7)) for _ in range(200)]
    spaced = [" ".join(draw.choice(parts, 7)) for _ in range(200)]
    labels = sp.csr_matrix(np.eye(3, dtype=np.float32)[np.arange(200) % 3])
    for texts, used in ((written, True), (spaced, False), (written[:30] + spaced[:170], True)):
        made, said = rows("no", labels, texts=Texts.from_strings(texts), char_ngrams="auto")
        assert bool(made.text.char_ngrams) == used
        assert any(line.startswith("character n-grams: used (most words of") for line in said) == used
    few, _ = rows("no", sp.csr_matrix(LABELS), char_ngrams="auto")
    assert not few.text.char_ngrams  # four texts say nothing


def test_no_feature_is_refused():
    with pytest.raises(DataError):
        rows("no", texts=Texts.from_strings([".", "", "-", " "]))
    assert rows("yes", texts=Texts.from_strings([".", "", "-", " "]))[0].label_text_rows.tolist() == [0, 1, 2]
