"""The rows of linear models: whose words are learnt, whether label texts are rows, what is said of it."""

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.errors import DataError
from megalabel.linear.rows import Words

TEXTS = Texts.from_strings(["red wine", "white wine", "dark beer", "pale beer"])
LABELS = sp.csr_matrix(np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=np.float32))
NAMES = Texts.from_strings(["wine", "beer", "cider"])
OTHERS = sp.csr_matrix(LABELS.toarray()[:, [1, 0, 2]])  # every text has the label that it is not like


def rows(label_rows, labels=LABELS, names=NAMES, texts=TEXTS, **more):
    said = []
    knobs = dict(split="letters", word_pairs=False, pieces=False, piece_words=0, vocabulary=1000, min_texts=1)
    words = Words(**{**knobs, **more}, label_rows=label_rows)
    return words.rows(texts, labels, names, seed=0, say=said.append), said


@pytest.mark.parametrize(
    ("label_rows", "labels", "own"),
    [
        ("no", LABELS, []),
        ("yes", LABELS, [0, 1, 2]),
        ("auto", LABELS, [0, 1, 2]),
        ("yes", OTHERS, [0, 1, 2]),
        ("auto", OTHERS, []),
    ],
    ids=["no", "yes", "auto", "yes though wrong", "auto where wrong"],
)
def test_label_texts_are_rows_where_wanted(label_rows, labels, own):
    made, _ = rows(label_rows, labels)
    n = 4 + len(own)
    assert made.own.tolist() == own
    assert made.x.shape == (n, made.text.size)
    assert made.labels.shape == (n, 3)
    assert np.array_equal(made.labels.toarray(), np.concatenate([labels.toarray(), np.eye(3)[own]]))
    both = [*TEXTS, *(NAMES[i] for i in own)]
    assert np.array_equal(made.x.toarray(), made.text.transform(both).toarray())
    assert np.allclose(sp.linalg.norm(made.x, axis=1), 1)


def test_words_of_label_texts_are_known_only_where_these_are_rows():
    for label_rows, labels in (("no", LABELS), ("auto", OTHERS)):
        assert sorted(rows(label_rows, labels)[0].text.words) == ["beer", "dark", "pale", "red", "white", "wine"]
    assert np.array_equal(rows("no")[0].text.idf, rows("auto", OTHERS)[0].text.idf)
    for label_rows in ("yes", "auto"):
        assert "cider" in rows(label_rows)[0].text.words


def test_a_label_text_without_a_known_word_is_no_row():
    made, _ = rows("yes", names=Texts.from_strings(["wine", " .", "cider"]))
    assert made.own.tolist() == [0, 2]
    assert rows("auto", names=Texts.blank(3))[0].own.tolist() == []


def test_what_is_said():
    def told(*arguments):
        return [" ".join(line.split()) for line in rows(*arguments)[1]]

    assert told("no") == ["features 6 of 4 rows, 8 weights"]
    assert told("auto") == [
        "names right 100% of times where surest: rows of their own",
        "features 7 of 7 rows, 11 weights",
    ]
    assert told("auto", OTHERS) == [
        "names right 0% of times where surest: no rows of their own",
        "features 6 of 4 rows, 8 weights",
    ]
    assert told("yes", OTHERS)[0] == "names right 0% of times where surest: rows of their own"


def test_pairs_and_pieces_are_features():
    plain, pairs = rows("no")[0].text, rows("no", word_pairs=True)[0].text
    pieces = rows("no", pieces=True)[0].text
    assert pairs.size > plain.size
    assert pieces.n_whole == plain.n_whole == plain.size < pieces.size
    assert {3, 4, 5} == {len(piece) for piece in pieces.pieces}
    assert len(rows("no", pieces=True, piece_words=2)[0].text.pieces) == len(pieces.pieces)
    without, said = rows("no", pieces=True, piece_words=1)  # the texts have two words each
    assert len(without.text.pieces) == 0
    assert said[0] == "pieces    none: half of the texts have more than 1 words"
    assert rows("no", vocabulary=2)[0].text.words == ["beer", "wine"]
    assert rows("no", min_texts=2)[0].text.words == ["beer", "wine"]


def test_no_feature_is_refused():
    with pytest.raises(DataError):
        rows("no", texts=Texts.from_strings([".", "", "-", " "]))
    assert rows("yes", texts=Texts.from_strings([".", "", "-", " "]))[0].own.tolist() == [0, 1, 2]
