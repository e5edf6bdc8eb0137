"""Models that read texts in chunks, and the recipe that chooses how, on texts whose labels come late."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from planted import planted
from topk_agree import assert_topk_agree

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import FormatError, SettingError
from megalabel.inputs.chunks import Chunking
from megalabel.kernels.sparse.pool_topk import pool_topk
from megalabel.linear.choice import gains
from megalabel.models.chunked import ChunkedClassifier, rank_chunks
from megalabel.recipes.chunk_choice import ERRORS, unseen_differences
from megalabel.recipes.chunked import chunked
from megalabel.recipes.linear import linear
from megalabel.training.run_folder import held_out_rows

PLAIN = {"token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0}  # nothing that linear chooses


def longer(corpus: Corpus, *, late: bool) -> Corpus:
    """The texts with 60 words of noise before or after them."""
    noise = " ".join(f"noise{i % 30}" for i in range(60))

    def side(split):
        return [f"{noise} {text}" if late else f"{text} {noise}" for text in split.texts]

    def rows(split):
        return np.split(split.labels.indices, split.labels.indptr[1:-1])

    return Corpus.of(
        side(corpus.train),
        [row.tolist() for row in rows(corpus.train)],
        list(corpus.label_texts),
        test_texts=side(corpus.test),
        test_labels=[row.tolist() for row in rows(corpus.test)],
        name="longer",
    )


@pytest.fixture(scope="module")
def late():
    return longer(planted(), late=True)


@pytest.fixture
def model(bag_run):
    return megalabel.load(bag_run)


def test_pools_the_rankings_of_the_chunks(model, late):
    texts = [*late.test.texts[:20], "w1a w1b", ""]
    chunking = Chunking(10, "tokens", overlap=2)
    for pooling in ("max", "mean", "softmax"):
        found = ChunkedClassifier(model, chunking, pooling).topk(texts, 5)
        chunks = chunking.cut(texts, model.encoder.tokenizer)
        expected = pool_topk(model.topk(chunks.texts, 50), chunks.offsets, 5, pooling, "log_odds")
        assert_topk_agree(found, expected)
    assert_topk_agree(
        type(found)(found.ids[-2:], found.scores[-2:]), model.topk(texts[-2:], 5)
    )  # texts of one chunk


def test_excluded_labels_are_left_out_of_every_chunk(model, late):
    texts = late.test.texts[:8]
    chunked_model = ChunkedClassifier(model, Chunking(10), "max")
    before = chunked_model.topk(texts, 4)
    pairs = np.array([[i, before.ids[i, 0]] for i in (1, 5)])
    after = chunked_model.topk(texts, 3, exclude=pairs)
    for i in range(8):
        assert after.ids[i].tolist() == before.ids[i, 1:4].tolist() if i in (1, 5) else before.ids[i, :3].tolist()


def test_blocks_of_many_chunks_give_the_same(model, late, monkeypatch):
    made = ChunkedClassifier(model, Chunking(10), "mean")
    texts = late.test.texts
    expected = made.topk(texts, 4)
    monkeypatch.setattr("megalabel.models.chunked.MOST", 20)
    assert_topk_agree(made.topk(texts, 4), expected)
    made.block_size = 7
    assert_topk_agree(made.topk(texts, 4), expected)


def test_longer_texts_are_told_of_once(model, late):
    said = []
    made = ChunkedClassifier(model, Chunking(10, max_chunks=2))
    made.say = said.append
    made.topk(late.test.texts, 2)
    made.topk(late.test.texts, 2)
    assert len(said) == 1 and "2 evenly spaced chunks of 10 words" in said[0]


def test_it_comes_back_from_its_folder_and_from_no_damaged_one(model, late, tmp_path):
    made = ChunkedClassifier(model, Chunking(6, "tokens", 1, 4), "softmax")
    made.say = lambda line: None
    made.save(tmp_path / "m")
    again = megalabel.load(tmp_path / "m")
    assert isinstance(again, ChunkedClassifier)
    assert (again.chunking, again.pooling) == (made.chunking, "softmax")
    assert again.trained_on.counts.tolist() == model.trained_on.counts.tolist()
    again.say = lambda line: None
    assert_topk_agree(again.topk(late.test.texts, 3), made.topk(late.test.texts, 3))
    shutil.rmtree(tmp_path / "m" / "base")
    with pytest.raises(FormatError):
        megalabel.load(tmp_path / "m")


def test_labels_can_be_added(model):
    extended = ChunkedClassifier(model, Chunking(10)).with_labels({"a new label": ["w1a w2a"]})
    assert extended.topk(["w1a w1b"], 3).ids.shape == (1, 3)


def test_what_cannot_be_cut_is_refused(model, tmp_path):
    cut = ChunkedClassifier(model, Chunking(5))
    for base, chunking, pooling in (
        (cut, Chunking(5), "mean"),
        ("model", Chunking(5), "mean"),
        (model, Chunking(5), "median"),
        (model, Chunking(17, "tokens"), "mean"),  # the run reads 16
        (
            megalabel.train(linear(planted(), clusters=(4,), **PLAIN), tmp_path / "l", quiet=True),
            Chunking(5, "tokens"),
            "mean",
        ),
    ):
        with pytest.raises(SettingError):
            ChunkedClassifier(base, chunking, pooling)


def test_a_run_on_short_texts_chooses_chunks_for_longer_ones(bag_run, late, tmp_path):
    said = []
    before = megalabel.evaluate(megalabel.load(bag_run), late)
    model = megalabel.train(chunked(late, run=str(bag_run), chunk_tokens=(4, 16)), tmp_path / "r", quiet=True)
    assert isinstance(model, ChunkedClassifier)
    after = megalabel.evaluate(model, late)
    assert before["P@1"] < 40 < 60 < after["P@1"]
    facts = json.loads((tmp_path / "r" / "recipe.json").read_text())
    assert facts["chosen"]["chunk_pooling"] == model.pooling
    assert facts["chosen"]["chunk_tokens"] == [model.chunking.size]
    again = megalabel.load(tmp_path / "r")
    assert_topk_agree(again.topk(late.test.texts, 5), model.topk(late.test.texts, 5))
    chunked(late, run=str(bag_run), chunk_tokens=(4, 16)).solve(said.append)
    assert len(said) == 3 and "whole texts" in said[0] and said[-1].startswith("chosen: chunks of")


def test_pairs_of_a_filter_are_in_the_columns_of_the_model(bag_run, late, monkeypatch):
    n = late.n_labels
    rows = np.split(late.train.labels.indices, late.train.labels.indptr[1:-1])
    turned = Corpus.of(
        late.train.texts,
        [(n - 1 - row).tolist() for row in rows],
        list(late.label_texts)[::-1],
        filter=np.array([[0, 0], [1, n - 1]]),
        name="turned",
    )
    seen = []

    def spied(model, chunks, depth, *, exclude=None, batch_size=256):
        seen.append(exclude)
        return rank_chunks(model, chunks, depth, exclude=exclude, batch_size=batch_size)

    monkeypatch.setattr("megalabel.recipes.chunk_choice.rank_chunks", spied)
    chunked(turned, run=str(bag_run), chunk_words=(10,)).solve(lambda line: None)
    assert [pairs.tolist() for pairs in seen] == [[[0, n - 1], [1, 0]]]


def test_a_run_that_reads_chunks_is_refused_before_anything_is_tried(bag_run, late, tmp_path):
    values = {"chunk_words": (10,), "chunk_pooling": "mean"}
    megalabel.train(chunked(late, run=str(bag_run), **values), tmp_path / "r", quiet=True)
    with pytest.raises(SettingError) as refused:
        chunked(late, run=str(tmp_path / "r"))
    assert refused.value.where == "run"


def test_chunks_that_gain_nothing_are_left_out(bag_run):
    said = []
    early = longer(planted(), late=False)
    model = chunked(early, run=str(bag_run), chunk_words=(30,), chunk_pooling="mean").solve(said.append)
    assert isinstance(model, ChunkedClassifier)  # it was asked for
    model = chunked(early, run=str(bag_run)).solve(said.append)
    assert not isinstance(model, ChunkedClassifier)
    assert "chunks: none" in said[-1]


def test_the_best_of_many_equal_ways_is_no_gain(rng):
    """Of ways that differ from whole texts by chance alone, the best one leads by more than its error."""
    naive = honest = 0
    for _ in range(200):
        whole = rng.normal(60, 20, 300)
        tried = list(whole + rng.normal(0, 20, (20, 300)))
        best = max(tried, key=np.mean)
        naive += gains(best - whole, ERRORS, 0.0)
        honest += gains(unseen_differences(tried, whole), ERRORS, 0.0)
    assert naive > 50 > 20 > honest
    tried[7] = tried[7] + 8
    assert gains(unseen_differences(tried, whole), ERRORS, 0.0)


def test_each_half_is_compared_in_the_way_that_is_best_on_the_other():
    whole = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    odd, even = np.array([1.0, 0, 1, 0, 1]), np.array([0.0, 2, 0, 2, 0])
    np.testing.assert_array_equal(unseen_differences([whole + odd, whole + even], whole), 0)
    np.testing.assert_array_equal(unseen_differences([whole, whole + 3], whole), 3)
    assert not gains(unseen_differences([np.array([9.0])], np.array([1.0])), ERRORS, 0.0)


def test_short_texts_are_not_cut(bag_run):
    said = []
    recipe = chunked(planted(), run=str(bag_run))
    assert recipe.validation.tolist() == held_out_rows(bag_run).tolist()
    assert not isinstance(recipe.solve(said.append), ChunkedClassifier)
    assert len(said) == 1 and "no longer than a chunk" in said[0]


def test_what_gives_nothing_to_choose_on_is_refused(bag_run, tmp_path):
    corpus = planted()
    run = tmp_path / "l"
    megalabel.train(linear(corpus, clusters=(4,), **PLAIN), run, quiet=True)
    with pytest.raises(SettingError, match="held out 0 texts"):
        chunked(corpus, run=str(run))
    chunked(corpus, run=str(run), chunk_words=(5,), chunk_pooling="max").solve(print)
    with pytest.raises(SettingError, match="one of the two"):
        chunked(corpus, run=str(bag_run), chunk_words=(5,), chunk_tokens=(5,))
    with pytest.raises(SettingError, match="less than 5"):
        chunked(corpus, run=str(bag_run), chunk_words=(5, 9), chunk_overlap=5)
