"""The numbers of reports against plain definitions, and weak spots that are known."""

import json

import numpy as np
import pytest
from planted import planted
from support.known import DEPTH, Known
from support.subjects import random_subject, subject

from megalabel.data.corpus import Corpus
from megalabel.data.metadata_records import metadata_of
from megalabel.errors import DataError
from megalabel.metrics.ranking import measure
from megalabel.onnx.comparison import labeled_texts
from megalabel.reporting.bootstrap import interval, resampled_sums, wilson
from megalabel.reporting.comparison import differences, per_text, with_intervals
from megalabel.reporting.confusions import confused
from megalabel.reporting.frequency import deciles, measured
from megalabel.reporting.labels import per_label
from megalabel.reporting.ranking import of_model, of_predictions
from megalabel.reporting.weak_spots import sentence, weakest, worst_groups
from megalabel.types import TopK


@pytest.fixture(scope="module")
def random():
    return random_subject()


def true_sets(found):
    return [set(found.labels[row].indices.tolist()) for row in range(len(found))]


def test_the_ranks_of_true_labels_are_their_places_in_the_rankings(random):
    for at, (row, label) in enumerate(zip(random.pair_rows, random.labels.indices, strict=True)):
        place = np.flatnonzero(random.ids[row] == label)
        assert random.pair_ranks[at] == (place[0] if len(place) else random.ids.shape[1])


def test_a_perfect_ranking_misses_nothing_and_texts_beyond_it_are_not_judged():
    truth = [[0, 1, 2, 3, 4, 5], [6], list(range(12))]
    ids = [[5, 4, 3, 2, 1, 0, 6, 7], [6, 0, 1, 2, 3, 4, 5, 7], [11, 10, 9, 8, 7, 6, 5, 4]]
    found = subject(ids, truth, [3] * 12)
    assert not found.missed.any()
    assert found.judged.sum() == 7  # the last text has more labels than are ranked
    late = subject([[*ids[0][6:], *ids[0][:6]], *ids[1:]], truth, [3] * 12)
    assert late.missed.sum() == 2  # of six true labels, two stand behind the sixth place


def test_deciles_hold_equal_shares_of_the_pairs_and_equal_counts_together():
    counts = np.concatenate([np.zeros(5, int), np.ones(100, int), np.arange(1, 200)])
    found = deciles(counts)
    assert found.names[0] == "0" and found.names[1].startswith("1")
    assert len(set(found.of_label[counts == 1])) == 1
    volumes = np.bincount(found.of_label, counts)[1:]
    assert volumes.max() < 2 * counts.sum() / 10
    assert (np.diff(found.of_label[np.argsort(counts, kind="stable")]) >= 0).all()


def test_the_points_of_the_deciles_add_up_to_the_metrics(random):
    groups = deciles(random.trained_on.counts)
    for k in (1, 3, 5):
        found = measured(random, groups, k)
        expected = measure(TopK(random.ids, random.scores), random.labels, k=k, inverse_propensity=random.gains)
        assert 100 * found.right.sum() / (k * len(random)) == pytest.approx(expected[f"P@{k}"])
        assert 100 * found.gain.sum() / found.best_gain.sum() == pytest.approx(expected[f"PSP@{k}"])
        perfect = sum(min(len(own), k) for own in true_sets(random))
        assert found.best.sum() == pytest.approx(perfect)


def test_confusions_are_pairs_of_a_wrong_label_and_a_missing_one(random):
    expected = {}
    for row, own in enumerate(true_sets(random)):
        answer = random.ids[row][: min(len(own), 5)].tolist()
        for wrong in set(answer) - own:
            for missing in own - set(answer):
                pair = min(wrong, missing), max(wrong, missing)
                both = expected.setdefault(pair, [0, 0])
                both[int(missing == pair[0])] += 1
    found = confused(random)
    numbers = zip(found.for_b.tolist(), found.for_a.tolist(), strict=True)
    assert {(a, b): list(n) for a, b, n in zip(found.a, found.b, numbers, strict=True)} == expected
    total = found.for_a + found.for_b
    assert (np.diff(total) <= 0).all()
    sets = true_sets(random)
    for i in range(5):  # the example shows the more frequent direction
        true = found.b[i] if found.for_b[i] >= found.for_a[i] else found.a[i]
        assert true in sets[found.example[i]]


def test_labels_are_counted_within_the_reach_of_each_text(random):
    found, sets = per_label(random), true_sets(random)
    for label in range(10):
        texts = [row for row, own in enumerate(sets) if label in own]
        right = [label in random.ids[row][: max(5, len(sets[row]))] for row in texts]
        assert (found.true[label], found.found[label]) == (len(texts), sum(right))


def test_bootstrap_errors_are_those_of_the_mean_and_pairs_cancel():
    values = np.random.default_rng(1).normal(size=(400, 1))
    sums = resampled_sums(np.repeat(values, 2, axis=1))
    assert (sums[:, 0] == sums[:, 1]).all()
    assert sums[:, 0].std() / 400 == pytest.approx(values.std() / 20, rel=0.1)
    low, high = interval(sums[:, 0] / 400)
    assert low < values.mean() < high
    low, high = wilson(np.array([0, 9, 5, 0]), np.array([10, 9, 10, 0]))
    assert low == pytest.approx([0, 0.7009, 0.2366, 0], abs=1e-3)
    assert high == pytest.approx([0.2775, 1, 0.7634, 1], abs=1e-3)


def test_metrics_per_text_add_up_to_the_metrics(random):
    expected = measure(TopK(random.ids, random.scores), random.labels, k=(1, 5), inverse_propensity=random.gains)
    values = per_text(random)
    for i, name in enumerate(values.names):
        assert 100 * values.over[:, i].sum() / values.under[:, i].sum() == pytest.approx(expected[name])
    assert all(m.low < m.value < m.high for m in with_intervals(random))


def test_a_better_model_is_clearly_better_and_an_equal_one_is_not(random):
    better = subject(
        [[*sorted(own), *(i for i in range(40) if i not in own)][:12] for own in true_sets(random)],
        [sorted(own) for own in true_sets(random)],
        random.trained_on.counts,
        title="perfect",
    )
    (_, same), (_, clear) = differences([random, random_subject(), better])
    assert all(m.low == m.value == m.high == 0 for m in same)
    assert all(m.low > 0 for m in clear)
    with pytest.raises(DataError):
        differences([random, random_subject(seed=1)])


def weak(rare=0.0, word=0.0, n=1500, seed=0):
    """A model that finds 7 of 10 true labels, fewer by these shares where labels are rare or a text has a word."""
    random = np.random.default_rng(seed)
    counts = np.r_[np.full(50, 2), np.full(50, 60)]
    truth, ids, texts = [], [], []
    for _ in range(n):
        own = sorted(random.choice(100, 3, replace=False).tolist())
        hard = random.random() < 0.3
        found = [label for label in own if random.random() < 0.7 - rare * (label < 50) - word * hard]
        ids.append([*found, *(i for i in range(100, 110))][:10])
        truth.append(own)
        texts.append("a plain sentence" + (" with difficulty" if hard else ""))
    return subject(ids, truth, np.r_[counts, np.full(10, 5)], texts=texts)


def test_weak_spots_are_found_where_they_were_put():
    both = weak(rare=0.4, word=0.25)
    first, second, *_ = weakest(worst_groups(both), both)
    assert first.title == "labels with at most 2 training texts"
    assert second.title in ("texts with the word “difficulty”", "texts of at least 5 words")
    assert (first.rate - first.missed_rest, second.rate - second.missed_rest) == pytest.approx(
        (0.4, 0.25), abs=0.06
    )
    said = sentence(first, both)
    rare = both.labels.indices < 50
    assert f"{rare.sum():,} true labels" in said and f"{100 * both.missed[rare].mean():.1f}% of" in said


def test_no_weak_spot_is_found_in_chance():
    assert [len(weakest(worst_groups(made), made)) for made in map(lambda s: weak(seed=s, n=400), range(3))] == [
        0,
        0,
        0,
    ]


def test_a_source_with_many_misses_is_a_weak_spot():
    truth = [[i % 7] for i in range(300)]
    ids = [[own[0] if i % 3 else 8, 9] for i, own in enumerate(truth)]
    made = subject(ids, truth, [4] * 10, sources=["old" if i % 3 == 0 else "new" for i in range(300)])
    (group, *_) = weakest(worst_groups(made), made)
    assert (group.title, group.rate, group.missed_rest) == ("texts of the source “old”", 1.0, 0.0)


def test_the_columns_of_stored_predictions_with_uris_have_the_names_of_their_labels(tmp_path):
    corpus, file = planted(), tmp_path / "predictions.jsonl"
    own = [corpus.label_texts[labels.indices[0]] for labels in corpus.test.labels]
    answers = [[{"label": name, "uri": f"urn:{name}"} for name in (first, "another")] for first in own]
    file.write_text("".join(json.dumps({"labels": labels}) + "\n" for labels in answers), encoding="utf-8")
    found = of_predictions(file, corpus, corpus.test)
    assert len(found.names) == found.labels.shape[1]
    assert [[found.name(i) for i in row] for row in found.ids] == [[first, "another"] for first in own]


def test_labels_of_a_report_are_matched_by_uri_as_in_an_evaluation():
    """The data set has the labels of the model in another order and language."""
    model = Known(DEPTH)
    model.metadata = metadata_of(model.label_texts, {str(i): {"uri": f"urn:{i}"} for i in range(DEPTH)})
    names = [f"other {i}" for i in range(DEPTH)]
    texts = [str(i) for i in range(20)]
    labels = [[DEPTH - 1 - int(model.row(i)[0][0])] for i in range(20)]  # the first label of each text
    data = Corpus.of(texts, labels, names, test_texts=texts, test_labels=labels).with_metadata(
        {name: {"uri": f"urn:{DEPTH - 1 - i}"} for i, name in enumerate(names)}
    )
    found = of_model("run", model, data, data.test)
    assert (found.ids[:, 0] == found.labels.indices).all()
    _, truth = labeled_texts(model, data, data.test)
    assert np.array_equal(truth.labels.indices, found.labels.indices)
