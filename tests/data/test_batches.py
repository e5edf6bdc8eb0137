from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from megalabel.data.texts import Texts
from megalabel.errors import SettingError
from megalabel.inputs.augment import TextRows, WithLabelTexts, label_counts
from megalabel.inputs.batches import Batches, hold_out, pad, split
from megalabel.inputs.token_store import TokenStore
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.types import Batch

N, L = 103, 7


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in random.integers(0, 40, size=random.integers(0, 9))) for _ in range(N)]
    tokenizer = learn_tokenizer(texts, 100)
    labels = sp.random(N, L, density=0.2, format="csr", dtype=np.float32, random_state=random)
    labels.data[:] = 1
    store = TokenStore.build(Texts.from_strings(texts), tokenizer, 16)
    names = TokenStore.build(Texts.from_strings([f"w{i} w{i + 1}" for i in range(L)]), tokenizer, 16)
    return TextRows(store, labels), names


def same(a, b):
    return (
        a.step == b.step
        and torch.equal(a.tokens, b.tokens)
        and torch.equal(a.rows, b.rows)
        and torch.equal(a.positives.rows, b.positives.rows)
        and torch.equal(a.positives.labels, b.positives.labels)
    )


def test_every_epoch_sees_every_row_once(rows):
    batches = Batches(rows[0], 10, 3, seed=1)
    seen = [batch.rows.tolist() for batch in batches.from_step()]
    assert len(seen) == batches.steps == 33
    for epoch in range(3):
        flat = [row for batch in seen[epoch * 11 : (epoch + 1) * 11] for row in batch]
        assert sorted(flat) == list(range(N))
    assert seen[:11] != seen[11:22]


@pytest.mark.parametrize("step", [0, 1, 10, 11, 12, 32, 33])
def test_a_run_goes_on_at_any_step(rows, step):
    whole = list(Batches(rows[0], 10, 3, seed=1).from_step())
    rest = list(Batches(rows[0], 10, 3, seed=1).from_step(step))
    assert len(rest) == len(whole) - step
    assert all(same(a, b) for a, b in zip(whole[step:], rest, strict=True))


def test_another_seed_is_another_order(rows):
    a, b = (next(iter(Batches(rows[0], 10, 1, seed=s).from_step())) for s in (1, 2))
    assert not torch.equal(a.rows, b.rows)


def test_positives_are_the_label_sets(rows):
    text_rows, _ = rows
    for batch in Batches(text_rows, 10, 1).from_step():
        dense = torch.zeros(len(batch.rows), L)
        dense[batch.positives.rows, batch.positives.labels] = 1
        assert torch.equal(dense, torch.from_numpy(text_rows.labels[batch.rows.numpy()].toarray()))
        order = batch.positives.labels * 1000 + batch.positives.rows
        assert torch.equal(order, order.sort().values)


def test_like_lengths_stand_together(rows):
    batches = Batches(rows[0], 10, 1)
    padded = sum(int((~batch.mask).sum()) for batch in batches.from_step())
    lengths = rows[0].lengths
    at_random = sum(int(lengths[i : i + 10].max() * len(lengths[i : i + 10])) for i in range(0, N, 10))
    assert padded < 0.3 * (at_random - lengths.sum())


def test_label_texts_are_rows_with_themselves_as_only_label(rows):
    both = WithLabelTexts(*rows)
    assert len(both) == N + L
    picked = np.array([N + 2, 0, N])
    where, labels = both.positives(picked)
    assert {(int(w), int(x)) for w, x in zip(where, labels, strict=True) if w != 1} == {(0, 2), (2, 0)}
    assert both.tokens(picked)[0].tolist() == rows[1].gather(np.array([2]))[0].tolist()
    assert both.lengths[N + 2] == 2


def test_label_counts_count_the_rows_trained_on(rows):
    wanted = np.asarray(rows[0].labels.sum(axis=0)).ravel() + 1
    assert np.array_equal(label_counts(WithLabelTexts(*rows), L), wanted)


def test_held_out_rows_are_not_trained_on(rows):
    text_rows, _ = rows
    kept, held = hold_out(N, 0.1, seed=3)
    assert len(held) == 10
    assert sorted([*kept, *held]) == list(range(N))
    some = TextRows(text_rows.store, text_rows.labels, kept)
    first = next(iter(Batches(some, 200, 1).from_step()))
    assert len(first.rows) == N - 10
    dense = np.zeros((len(first.rows), L))
    dense[first.positives.rows, first.positives.labels] = 1
    assert np.array_equal(dense, text_rows.labels[kept[first.rows.numpy()]].toarray())


@pytest.mark.parametrize("parts", [1, 2, 3, 10, 16])
def test_micro_batches_are_the_batch(rows, parts):
    batch = next(iter(Batches(rows[0], 10, 1).from_step()))
    pieces = split(batch, parts)
    assert torch.equal(torch.cat([p.tokens for p in pieces]), batch.tokens)
    start, pairs = 0, set()
    for piece in pieces:
        pairs |= {
            (start + int(r), int(y)) for r, y in zip(piece.positives.rows, piece.positives.labels, strict=True)
        }
        start += len(piece.rows)
    assert pairs == set(zip(batch.positives.rows.tolist(), batch.positives.labels.tolist(), strict=True))


def test_empty_texts_have_a_place():
    tokens, mask = pad([np.array([], np.int64), np.array([], np.int64)], pad_id=5)
    assert tokens.tolist() == [[5], [5]]
    assert not mask.any()


def test_an_error_in_the_thread_reaches_the_loop(rows):
    class Broken(TextRows):
        def tokens(self, rows):
            raise SettingError("broken", wanted="whole", next_step="mend")

    broken = Broken(rows[0].store, rows[0].labels)
    with pytest.raises(SettingError, match="broken"):
        list(Batches(broken, 10, 1).from_step())


def test_bad_settings_are_refused(rows):
    text_rows, _ = rows
    for size, epochs in ((0, 1), (1, 0)):
        with pytest.raises(SettingError, match="batch_size"):
            Batches(text_rows, size, epochs)
    with pytest.raises(SettingError, match="no training rows"):
        Batches(TextRows(text_rows.store, text_rows.labels, np.zeros(0, int)), 10, 1)
    with pytest.raises(SettingError, match="label sets"):
        TextRows(text_rows.store, text_rows.labels[:5])
    for share in (-0.1, 1.0):
        with pytest.raises(SettingError, match="validation"):
            hold_out(100, share, 0)
    with pytest.raises(SettingError, match="less than one text"):
        hold_out(5, 0.1, 0)


def test_only_the_labels_asked_for_become_rows(rows):
    some = WithLabelTexts(*rows, labels=np.array([1, 4]))
    assert len(some) == len(some.lengths) == N + 2
    where, labels = some.positives(np.array([N + 1, N]))
    assert (where.tolist(), labels.tolist()) == ([0, 1], [4, 1])
    assert some.tokens(np.array([N + 1]))[0].tolist() == rows[1].gather(np.array([4]))[0].tolist()
    assert some.lengths[N + 1] == rows[1].lengths[4]


def test_the_thread_ends_when_the_batches_are_closed(rows):
    import threading

    before = threading.active_count()
    batches = Batches(rows[0], 1, 50).from_step()
    next(batches)
    assert threading.active_count() == before + 1
    batches.close()
    assert threading.active_count() == before


def test_the_rows_of_the_texts_travel_with_the_positives(rows):
    batch = next(iter(Batches(rows[0], 10, 1).from_step()))
    assert torch.equal(batch.positives.texts, batch.rows)
    for part in split(batch, 3):
        assert torch.equal(part.to("cpu").positives.texts, part.rows)


@dataclass(frozen=True)
class Weighted(Batch):
    """A batch with a weight per text."""

    weights: torch.Tensor


def test_further_fields_of_a_batch_are_moved_and_cut(rows):
    batch = next(iter(Batches(rows[0], 10, 1).from_step()))
    weights = torch.arange(10.0)
    more = Weighted(batch.tokens, batch.mask, batch.rows, batch.positives, batch.step, weights)
    parts = split(more.to("cpu"), 3)
    assert [type(part) for part in parts] == [Weighted] * 3
    assert torch.equal(torch.cat([part.weights for part in parts]), weights)
    assert torch.equal(torch.cat([part.tokens for part in parts]), batch.tokens)


def test_an_epoch_that_may_not_be_planned_ahead_waits_for_the_last_step(rows):
    class Watching(Batches):
        ahead = False
        done = 0
        planned = ()

        def plan(self, epoch):
            self.planned = (*self.planned, (epoch, self.done))
            return super().plan(epoch)

    batches = Watching(rows[0], 10, 3)
    for batch in batches.from_step():
        batches.done = batch.step + 1
    assert batches.planned == ((0, 0), (1, 11), (2, 22))
