from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from planted import planted
from support import layouts
from support.layouts import put

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.inputs.tfidf import l2_rows
from megalabel.labels.build import build_tree, check_fits
from megalabel.labels.cluster import cluster
from megalabel.labels.features import feature_sources, label_features
from megalabel.labels.graph import label_graph, smoothed
from megalabel.labels.tree import LabelTree


def groups(n_groups=8, of_each=8, seed=0):
    """Texts with two labels of one group each and the group's words: labels of a group belong together."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for i in range(n_groups * of_each * 6):
        group = i % n_groups
        own = random.choice(of_each, 2, replace=False) + group * of_each
        texts.append(" ".join(f"g{group}w{word}" for word in random.integers(0, 6, 5)) + f" t{own[0]} t{own[1]}")
        labels.append(sorted(own.tolist()))
    names = [f"name{label // of_each} t{label}" for label in range(n_groups * of_each)]
    return Corpus.of(texts, labels, names, name="groups")


def rows_of(labels):
    return labels.indices, labels.indptr[1:-1]


def purity(tree, of_each=8):
    """The share of labels in leaves of one group."""
    leaves = np.split(tree.order // of_each, tree.offsets[-1][1:-1])
    return sum(len(leaf) for leaf in leaves if len(set(leaf.tolist())) == 1) / tree.n_labels


@pytest.mark.parametrize(
    "settings", [{}, {"graph": False}, {"source": "names"}, {"source": "both"}, {"cluster_features": 20}]
)
def test_labels_of_a_group_share_a_leaf(settings):
    tree = build_tree(groups(), depths=(1, 3), **settings)
    assert tree.sizes == (2, 8, 64)
    assert purity(tree) >= 0.75
    assert tree.built["depths"] == [1, 3]
    assert tree.built["data"] == "groups"
    assert (tree.built["graph"] is None) == (settings.get("graph") is False)


def test_one_seed_gives_one_tree_and_others_give_others():
    data = planted()
    trees = [build_tree(data, depths=(2, 4), seed=seed) for seed in (7, 7, 8)]
    assert trees[0] == trees[1]
    assert trees[0] != trees[2]


def test_held_out_texts_do_not_shape_the_tree():
    data = groups()
    rows = np.arange(0, len(data.train), 2)
    lies = list(data.train.texts)
    for row in set(range(len(lies))) - set(rows.tolist()):
        lies[row] = "w0 misleading words"
    other = Corpus.of(lies, data.train.labels, data.label_texts)
    assert build_tree(data, rows=rows, depths=(3,)) == build_tree(other, rows=rows, depths=(3,))
    assert build_tree(data, depths=(3,)) != build_tree(other, depths=(3,))


def test_a_corpus_of_bags_of_words_is_enough():
    data, random = groups(), np.random.default_rng(0)
    group = data.train.labels.indices[data.train.labels.indptr[:-1]] // 8
    bags = sp.csr_matrix(np.eye(8, dtype=np.float32)[group] + 0.1 * random.random((len(group), 8), np.float32))
    bagged = replace(data, train=replace(data.train, features=bags), label_texts=planted(64).label_texts)
    assert purity(build_tree(bagged, depths=(3,))) >= 0.5  # at random: 0


def test_bags_of_words_have_no_settings_of_words():
    data = groups()
    bags = sp.csr_matrix((data.train.labels @ np.ones((64, 3))).astype(np.float32))
    bagged = replace(data, train=replace(data.train, features=bags))
    for setting in ({"tokenizer": "symbols"}, {"vocabulary": 50}, {"max_length": 9}):
        with pytest.raises(SettingError, match="bags of words"):
            build_tree(bagged, **setting)
        assert build_tree(bagged, source="names", **setting).n_labels == 64  # those of the names
    blank = replace(bagged, label_texts=Corpus.of(["a"], [[0]], [""] * 64).label_texts)
    assert build_tree(blank).n_labels == 64


def test_bags_of_words_with_wild_values_are_refused():
    data = groups()
    for value in (np.nan, np.inf):
        bags = sp.csr_matrix(np.full((len(data.train), 2), value, dtype=np.float32))
        with pytest.raises(DataError, match="finite numbers"):
            build_tree(replace(data, train=replace(data.train, features=bags)))


def test_the_steps_are_these_and_unit_features_are_scaled_before_smoothing():
    data, settings = planted(), {"source": "texts", "tokenizer": "words", "vocabulary": 100_000, "max_length": 256}
    found = feature_sources(data, None, **settings)
    features, edges = label_features(found, "texts", 50), label_graph(data.train.labels, seed=4)
    by_hand = cluster(smoothed(edges, features, 50), (4,), seed=4)
    scaled = cluster(smoothed(edges, l2_rows(features), 50), (4,), seed=4)
    assert build_tree(data, cluster_features=50, depths=(4,), seed=4) == by_hand
    assert build_tree(data, cluster_features=50, depths=(4,), seed=4, normalize=True) == scaled
    assert scaled != by_hand


def test_labels_without_texts_are_placed_beside_those_that_share_their_words():
    data = groups()
    kept = [[label for label in row if label not in (31, 63)] for row in np.split(*rows_of(data.train.labels))]
    names = list(data.label_texts)
    names[31], names[63] = "g3w0 g3w1 g3w2 g3w3 g3w4 g3w5", ""
    said = []
    tree = build_tree(Corpus.of(data.train.texts, kept, names), depths=(3,), say=said.append)
    leaf = next(part for part in np.split(tree.order, tree.offsets[-1][1:-1]) if 31 in part)
    assert len({24, 25, 26, 27, 28, 29, 30} & set(leaf.tolist())) >= 4
    line = next(line for line in said if line.startswith("features"))
    assert "1 without training text, clustered by their label text; 1 without any features" in line


def test_each_step_is_logged_with_its_seconds():
    said = []
    build_tree(planted(), say=said.append)
    assert said[0].startswith("depths 3: 8 clusters, 8.0 labels per leaf")
    assert [line.split()[0] for line in said[1:]] == ["texts", "features", "graph", "smoothing", "clusters"]
    assert all(line.split()[2] == "s" for line in said[1:])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"source": "words"}, "source: 'words'"),
        ({"cluster_features": 0}, "cluster_features: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"walk_length": 0}, "walk_length: 0"),
        ({"depths": (4, 2)}, "depths = 4,2"),
        ({"depths": (7,)}, "128 clusters on the coarsest level of 64 labels"),
        ({"max_length": 0}, "max_length: 0"),
        ({"rows": np.array([], dtype=np.int64)}, "rows"),
        ({"rows": np.array([400])}, "rows"),
        ({"rows": np.array([0.5])}, "rows"),
    ],
)
def test_bad_settings_are_refused(bad, said):
    with pytest.raises(SettingError, match=said):
        build_tree(planted(), **bad)


def test_two_labels_are_enough_and_one_is_not():
    tree = build_tree(Corpus.of(["a", "b"], [[0], [1]], ["a", "b"]))
    assert tree.sizes == (2, 2)
    with pytest.raises(SettingError, match="at least 2 labels"):
        build_tree(Corpus.of(["a"], [[0]], ["a"]))


def test_a_tree_of_another_data_set_is_named():
    tree = build_tree(planted())
    check_fits(tree, planted())
    with pytest.raises(SettingError, match="tree of planted has 64 labels, other has 2"):
        check_fits(tree, Corpus.of(["a", "b"], [[0], [1]], ["a", "b"], name="other"))
    with pytest.raises(SettingError, match="the label tree has 1 labels"):
        check_fits(LabelTree.from_clusters([[[0]]]), planted())


def test_a_tree_of_other_labels_is_refused_though_they_are_as_many(tmp_path):
    data = Corpus.of(["a", "b"], [[0], [1]], ["a", "b"], name="letters")
    other = Corpus.of(["a", "b"], [[0], [1]], ["b", "a"], name="others")
    build_tree(data).save(tmp_path / "tree")
    tree = LabelTree.load(tmp_path / "tree")
    check_fits(tree, data)
    with pytest.raises(
        SettingError, match="tree of letters was built over other label texts than those of others"
    ):
        check_fits(tree, other)
    check_fits(LabelTree.from_clusters([[[0], [1]]]), other)  # made by hand: nothing more is known of it


@pytest.fixture(scope="module")
def wordnet():
    """The bundled data, large enough for every fast body, and its trees by one thread and by three."""
    data, before = Corpus.bundled("wordnet-4k"), torch.get_num_threads()
    try:
        trees = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            trees.append(build_tree(data, depths=(6, 9)))
    finally:
        torch.set_num_threads(before)
    return data, *trees


@pytest.mark.slow
def test_the_number_of_threads_changes_nothing(wordnet):
    _, one, three = wordnet
    assert one == three


@pytest.mark.slow
def test_synonyms_of_the_bundled_data_lie_close_together(wordnet):
    data, tree, _ = wordnet
    assert tree.sizes == (64, 512, 4044)
    leaf = np.empty(4044, dtype=np.int64)
    leaf[tree.order] = tree.parents(1)
    labels = data.train.labels
    first, second = labels.indices[labels.indptr[:-1]], labels.indices[labels.indptr[1:] - 1]
    pairs = first != second  # texts with several labels: synonyms
    together = (leaf[first] == leaf[second])[pairs].mean()
    assert together > 0.4  # in the same of 512 leaves; at random 0.002


def test_a_tree_over_the_bag_of_words_fits_the_raw_texts_of_the_same_labels(tmp_path):
    put(tmp_path / "bow", {"train.txt": layouts.bag()})
    raw = Corpus.open(put(tmp_path / "raw", layouts.renee()))
    tree = build_tree(Corpus.open(tmp_path / "bow"))
    tree.save(tmp_path / "tree")
    check_fits(LabelTree.load(tmp_path / "tree"), raw)
    check_fits(build_tree(raw), Corpus.open(tmp_path / "bow"))
    other = Corpus.of(list(raw.train.texts), raw.train.labels[:, ::-1].tocsr(), list(raw.label_texts))
    with pytest.raises(SettingError, match="other label texts"):  # as many labels, in another order
        check_fits(tree, other)
