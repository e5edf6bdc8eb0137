"""The sparse features of texts against counters of words per text, their folder, and errors."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from megalabel.data.texts import Texts
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.inputs import ngrams
from megalabel.inputs import sparse_text as module
from megalabel.inputs.sparse_folder import FORMAT
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.words import split_words
from megalabel.storage.manifest import write_manifest

TEXTS = [
    "the quiet bees of the quiet hill",
    "Bees, and the hill.",
    "",
    "a b a b a b",
    "Naïve café: |- ( ps -> ph )",
    "the bees",
    "中文 हिन्दी",
]


def some_texts(seed: int, n: int = 40) -> list[str]:
    rng = random.Random(seed)
    words = [rng.choice("abcde") * rng.randint(1, 4) + rng.choice(["", "é", "x"]) for _ in range(30)]
    return [" ".join(rng.choices(words, k=rng.choice([0, 1, 2, 5, 30]))) for _ in range(n)]


def features(text: str, kind: str, pairs: bool, pieces: tuple[int, int] | None) -> Counter[tuple[str, ...]]:
    words = split_words([text], kind)[:-1]
    found = Counter(("0 word", word) for word in words)
    if pairs:
        found.update(("1 pair", *pair) for pair in pairwise(words))
    for word in words if pieces else []:
        closed = f" {word} "
        found.update(
            ("2 piece", closed[a : a + n])
            for n in range(pieces[0], pieces[1] + 1)
            for a in range(len(closed) - n + 1)
        )
    return found


def plain(texts: list[str], new: list[str], vocabulary: int, min_texts: int, **how) -> list[dict]:
    """The rows of `new` as dicts from features to weights, by the definition."""
    counts = [features(text, **how) for text in texts]
    holding = Counter(feature for row in counts for feature in row)
    rank = {
        w[1]: i
        for i, w in enumerate(sorted((f for f in holding if f[0] == "0 word"), key=lambda f: (-holding[f], f)))
    }

    def before(f: tuple[str, ...]) -> tuple:
        return (-holding[f], f[0], *(f[1:] if f[0] != "1 pair" else (rank[f[1]], rank[f[2]])))

    kept = set(sorted((f for f in holding if holding[f] >= min_texts), key=before)[:vocabulary])
    idf = {f: math.log((1 + len(texts)) / (1 + holding[f])) + 1 for f in kept}
    rows = [{f: (1 + math.log(c)) * idf[f] for f, c in features(text, **how).items() if f in kept} for text in new]
    lengths = [math.sqrt(sum(value**2 for value in row.values())) for row in rows]
    return [{f: v / length for f, v in row.items()} for row, length in zip(rows, lengths, strict=True)]


def as_dicts(view: SparseText, texts: list[str]) -> list[dict]:
    x = view.transform(texts)
    assert x.dtype == np.float32 and x.has_sorted_indices and x.shape == (len(texts), view.size)
    names = [
        *(("0 word", word) for word in view.words),
        *(("1 pair", *(view.words[int(i)] for i in divmod(int(c), len(view.words)))) for c in view.bigrams),
        *(("2 piece", piece) for piece in view.char_ngrams),
    ]
    return [
        {names[c]: v for c, v in zip(row.indices, row.data, strict=True)}
        for row in (x[[i]] for i in range(len(texts)))
    ]


@pytest.mark.parametrize("kind", ["letters", "words", "signs", "symbols"])
@pytest.mark.parametrize("pieces", [None, (1, 3)])
@pytest.mark.parametrize("vocabulary, min_texts", [(10**6, 1), (10**6, 3), (25, 1), (7, 2)])
def test_equals_the_definition(kind, pieces, vocabulary, min_texts, seed, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    monkeypatch.setattr(ngrams, "_PENDING", 10)
    texts, new = [*some_texts(seed), *TEXTS], [*some_texts(seed + 1), "unknown", *TEXTS]
    view = SparseText.learn(texts, vocabulary=vocabulary, min_texts=min_texts, pattern=kind, char_ngrams=pieces)
    expected = plain(texts, new, vocabulary, min_texts, kind=kind, pairs=True, pieces=pieces)
    found = as_dicts(view, new)
    assert view.size <= vocabulary
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-5)


def test_words_alone():
    view = SparseText.learn(TEXTS, bigrams=False)
    assert len(view.bigrams) == 0 and view.size == len(view.words)
    assert view.words[:3] == ["bees", "the", "hill"]  # of most texts first, then by spelling


def test_a_text_does_not_depend_on_those_beside_it(seed):
    texts = some_texts(seed, 200)
    view = SparseText.learn(texts, char_ngrams=(2, 3), min_texts=2)
    together = view.transform(texts)
    for i, text in enumerate(texts):
        alone = view.transform([text])
        np.testing.assert_array_equal(alone.indices, together[[i]].indices)
        np.testing.assert_array_equal(alone.data, together[[i]].data)


def test_blocks_and_order_of_learning_change_nothing(seed, monkeypatch):
    texts = some_texts(seed, 60)
    one = SparseText.learn(texts, char_ngrams=(2, 2), vocabulary=50)
    monkeypatch.setattr(module, "BLOCK", 3)
    other = SparseText.learn(Texts.from_strings(reversed(texts)), char_ngrams=(2, 2), vocabulary=50)
    assert (one.words, one.char_ngrams, one.bigrams.tolist()) == (
        other.words,
        other.char_ngrams,
        other.bigrams.tolist(),
    )
    assert (one.transform(texts) != other.transform(texts)).nnz == 0


def test_rows_have_length_one_or_are_empty():
    view = SparseText.learn(TEXTS)
    x = view.transform([*TEXTS, "zebra"])
    lengths = np.sqrt(np.asarray(x.multiply(x).sum(axis=1))).ravel()
    np.testing.assert_allclose(lengths, [1, 1, 0, 1, 1, 1, 1, 0], atol=1e-6)
    assert view.transform([]).shape == (0, view.size)


def test_lone_surrogates_survive(tmp_path):
    view = SparseText.learn(["bad \ud800half", "bad"], pattern="words")
    view.save(tmp_path / "view")
    assert SparseText.load(tmp_path / "view").words == view.words == ["bad", "half", "\ud800"]


def test_one_text_is_one_text():
    view = SparseText.learn("quiet bees")
    assert view.words == ["bees", "quiet"]
    assert view.transform("quiet bees").shape == (1, 3)


def test_names():
    view = SparseText.learn(["quiet bees"], char_ngrams=(3, 4))
    names = view.names(range(view.size))
    assert names[:3] == ["bees", "quiet", "quiet bees"]
    assert {"be…", "…uie…", "…es"} <= set(names)


def test_folder_keeps_everything(tmp_path, seed):
    texts = some_texts(seed)
    view = SparseText.learn(texts, pattern="signs", char_ngrams=(2, 3), min_texts=2)
    view.save(tmp_path / "view")
    view.save(tmp_path / "view")  # and once more over itself
    again = SparseText.load(tmp_path / "view")
    assert (again.transform(texts) != view.transform(texts)).nnz == 0
    assert (again.pattern, again.lengths, again.size) == ("signs", (2, 3), view.size)
    assert not list((tmp_path / "view").glob("*.pkl"))
    SparseText.learn(texts).save(tmp_path / "other")
    assert SparseText.load(tmp_path / "other").lengths is None


@pytest.mark.parametrize("texts", [[], [""], ["", "  "]])
def test_no_words_no_vocabulary(texts):
    with pytest.raises(DataError, match="no word"):
        SparseText.learn(texts)


def test_words_too_rare():
    with pytest.raises(DataError, match="lower min_texts"):
        SparseText.learn(["one", "two"], min_texts=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"vocabulary": 0},
        {"vocabulary": 1 << 30},
        {"min_texts": 0},
        {"pattern": "lines"},
        {"bigram_weight": 0.0},
        {"bigram_weight": float("inf")},
        {"char_ngrams": (3, 2)},
        {"char_ngrams": (0, 2)},
        {"char_ngrams": (3,)},
    ],
)
def test_settings_out_of_range(wrong):
    with pytest.raises(SettingError, match=f"{next(iter(wrong))}"):
        SparseText.learn(["some text"], **wrong)


def test_what_is_no_string():
    with pytest.raises(DataError, match="int"):
        SparseText.learn(["a"]).transform([3])  # type: ignore[list-item]


def test_wrong_folder(tmp_path):
    with pytest.raises(FormatError, match="missing"):
        SparseText.load(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_text('{"format": 1, "sha256": {}}')
    with pytest.raises(FormatError, match="not one of a vocabulary"):
        SparseText.load(tmp_path)


@pytest.mark.parametrize("name", ["words.json", "pairs.npy", "idf.npy"])
def test_damaged_file(tmp_path, name):
    SparseText.learn(TEXTS).save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1])
    with pytest.raises(FormatError, match="differs from the manifest"):
        SparseText.load(tmp_path)


@pytest.mark.parametrize("damage", ["words", "repeated", "pairs", "idf", "nan", "kind", "object"])
def test_parts_that_do_not_fit(tmp_path, damage):
    """Hashes that are right, contents that are not: as another program might write them."""
    SparseText.learn(TEXTS).save(tmp_path)
    listed = json.loads((tmp_path / "words.json").read_text())
    pairs, idf = np.load(tmp_path / "pairs.npy"), np.load(tmp_path / "idf.npy")
    kind = "words"
    if damage == "words":
        listed["words"].pop()
    elif damage == "repeated":
        listed["words"][1] = listed["words"][0]
    elif damage == "pairs":
        pairs[-1] = len(listed["words"]) ** 2
    elif damage == "idf":
        idf = idf[:-1]
    elif damage == "nan":
        idf[0] = np.nan
    elif damage == "object":
        listed["pieces"] = [3]
    else:
        kind = "lines"
    (tmp_path / "words.json").write_text(json.dumps(listed))
    np.save(tmp_path / "pairs.npy", pairs)
    np.save(tmp_path / "idf.npy", idf)
    (tmp_path / "manifest.json").unlink()
    write_manifest(tmp_path, FORMAT, {"kind": kind, "piece_lengths": None, "features": []})
    with pytest.raises(FormatError, match="damaged"):
        SparseText.load(tmp_path)
