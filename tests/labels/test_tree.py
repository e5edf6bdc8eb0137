import json
import re
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import DataError, FormatError, SettingError
from megalabel.labels.describe import describe
from megalabel.labels.tree import LabelTree

# Two levels, ragged: node 0 of level 0 holds one cluster, node 1 two.
OFFSETS = (np.array([0, 1, 3]), np.array([0, 2, 3, 6]))
ORDER = np.array([5, 1, 0, 2, 3, 4])


@pytest.fixture
def tree():
    return LabelTree(OFFSETS, ORDER, {"source": "a test"})


def random_tree(rng, n_labels=50, sizes=(3, 12)):
    """A ragged tree with nodes of random sizes."""
    offsets = []
    for n, below in zip(sizes, (*sizes[1:], n_labels), strict=True):
        cuts = np.sort(rng.choice(np.arange(1, below), n - 1, replace=False))
        offsets.append(np.concatenate([[0], cuts, [below]]))
    return LabelTree(tuple(offsets), rng.permutation(n_labels))


def test_numbers_of_a_small_tree(tree):
    assert tree.n_labels == 6
    assert tree.depth == 2
    assert tree.sizes == (2, 3, 6)
    assert tree.position.tolist() == [2, 1, 3, 4, 5, 0]
    assert tree.parents(0).tolist() == [0, 1, 1]
    assert tree.parents(1).tolist() == [0, 0, 1, 2, 2, 2]
    assert all(part.dtype == np.int64 for part in (*tree.offsets, tree.order, tree.position, tree.parents(0)))
    assert repr(tree) == "LabelTree(2 > 3 > 6)"


def test_parents_and_offsets_say_the_same(rng):
    tree = random_tree(rng)
    for level, offsets in enumerate(tree.offsets):
        parents = tree.parents(level)
        for node in range(tree.sizes[level]):
            assert np.flatnonzero(parents == node).tolist() == list(range(offsets[node], offsets[node + 1]))


def test_the_arrays_are_copies(tree):
    order = ORDER.copy()
    other = LabelTree(OFFSETS, order)
    order[0] = 0
    assert other == tree


def test_the_arrays_are_read_only_and_positions_are_new_each_time(tree):
    for array in (*tree.offsets, tree.order):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    tree.position[:] = 0
    assert tree.position.tolist() == [2, 1, 3, 4, 5, 0]


@pytest.mark.parametrize(
    ("offsets", "order", "said"),
    [
        ((), ORDER, "a tree without levels"),
        (([],), [], "offsets[0] is empty"),
        (([0],), [], "offsets[0] has one number"),
        (([1, 6],), ORDER, "offsets[0] starts with 1"),
        (([0, 3, 3, 6],), ORDER, "node 1 of level 0 has the children 3 to 3"),
        (([0, 4, 3, 6],), ORDER, "node 1 of level 0 has the children 4 to 3"),
        (([0, 2], [0, 2, 3, 6]), ORDER, "level 0 has 2 children, level 1 has 3 nodes"),
        (([0, 5],), ORDER, "6 labels in the order, 5 positions"),
        (([0, 6],), [5, 1, 0, 1, 3, 4], "label 1 is at positions 1 and 3"),
        (([0, 6],), [5, 1, 0, 6, 3, 4], "label 6 is at position 3"),
        (([0, 6],), [5, 1, 0, -1, 3, 4], "label -1 is at position 3"),
        (([0, 6],), ORDER.astype(float), "order has shape (6,) and dtype float64"),
        (([0, 6],), ORDER[None], "order has shape (1, 6)"),
        (([0.0, 6.0],), ORDER, "offsets[0] has shape (2,) and dtype float64"),
        (([0, 2**62, -(2**63) + 9, 6],), ORDER, "node 1 of level 0 has the children"),  # differences overflow
        (5, ORDER, "offsets is 5, of type int"),
        (None, ORDER, "offsets is None, of type NoneType"),
        ((5,), ORDER, "offsets[0] has shape ()"),
        (([0, [6]],), ORDER, "offsets[0] is not a row of numbers"),
        (([0, 6],), None, "order has shape () and dtype object"),
    ],
)
def test_what_is_no_tree_is_refused(offsets, order, said):
    with pytest.raises(DataError, match=re.escape(said)):
        LabelTree(offsets, order)


def test_from_clusters_follows_the_lists():
    tree = LabelTree.from_clusters([[[1], [0, 2]], [[0], [5, 1], [2, 3, 4]]], by="hand")
    assert tree.sizes == (2, 3, 6)
    assert tree.order.tolist() == [5, 1, 0, 2, 3, 4]
    assert [o.tolist() for o in tree.offsets] == [[0, 1, 3], [0, 2, 3, 6]]
    assert tree.built == {"source": "clusters", "by": "hand"}
    assert LabelTree.from_clusters([[[0, 4, 2], [1, 3]]]).order.tolist() == [0, 4, 2, 1, 3]


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ([], "a tree without clusters"),
        ([[]], "a tree without clusters"),
        ([[[0, 1], [1, 2]]], "label 1 is listed in level 0 at positions 1 and 2"),
        ([[[0, 1], [3]]], "label 3 is listed in level 0 at position 2, and there are 3"),
        ([[[0, 1], []]], "cluster 1 of level 0 is empty"),
        ([[[0], [0, 1]], [[0], [1]]], "level 1's cluster 0 is listed in level 0 at positions 0 and 1"),
        ([[[0]], [[0], [1]]], "level 1's cluster 1 is listed in level 0 at no position"),
        ([[["a"]]], "levels[0][0] has shape (1,) and dtype <U1"),
        ([[[0, 1], [[2], 3]]], "levels[0][1] is not a row of numbers"),
        ([[0, 1]], "levels[0][0] has shape ()"),
        ([5], "levels[0] is 5, of type int"),
        ([[[0]], None], "levels[1] is None, of type NoneType"),
        (None, "levels is None, of type NoneType"),
        ([[[0]], []], "level 1's cluster 0 is listed in level 0 at position 0, and there are 0"),
    ],
)
def test_clusters_that_are_no_tree_are_refused(levels, said):
    with pytest.raises(DataError, match=re.escape(said)):
        LabelTree.from_clusters(levels)


def test_from_parents_is_the_way_back_from_cluster_matrices(rng):
    tree = random_tree(rng)
    again = LabelTree.from_parents([tree.cluster_matrix(i).indices for i in range(tree.depth)])
    assert again.sizes == tree.sizes
    for level in range(tree.depth):
        assert (again.offsets[level] == tree.offsets[level]).all()
    for a, b in pairwise(tree.offsets[-1]):  # inside a leaf, labels rise
        assert again.order[a:b].tolist() == sorted(tree.order[a:b].tolist())


def test_from_parents_with_names_in_any_order():
    tree = LabelTree.from_parents([[1, 0, 1], [1, 0, 2, 2, 2, 0]])
    assert tree.sizes == (2, 3, 6)
    assert tree.order.tolist() == [0, 1, 5, 2, 3, 4]  # level 0's node 0 holds cluster 1, node 1 clusters 0 and 2
    assert tree.parents(0).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("parents", "said"),
    [
        ([], "a tree without levels"),
        ([[]], "starts"),
        ([[0, 2]], "cluster 1 of level 0 has no children"),
        ([[0, 0], [0, 0]], "cluster 1 of level 1 has no children"),
        ([[0, 0], [0, 1, 2]], "parents[1][2] is 2, but level 1 has 2 nodes"),
        ([[0, -1]], "parents[0][1] is -1"),
        ([[0, 10**12]], "cluster 1 of level 0 has no children"),  # and no memory for the numbers between
        ([[10**12, 1]], "cluster 0 of level 0 has no children"),
        ([[0, 0], [0, 10**12]], "parents[1][1] is 1000000000000, but level 1 has 2 nodes"),
        (None, "parents is None, of type NoneType"),
        ([0, 1], "parents[0] has shape ()"),
        ([[0, [1]]], "parents[0] is not a row of numbers"),
    ],
)
def test_parents_that_are_no_tree_are_refused(parents, said):
    with pytest.raises(DataError, match=re.escape(said) if said != "starts" else "has one number"):
        LabelTree.from_parents(parents)


def test_saved_and_loaded_is_the_same(tree, tmp_path):
    tree.save(tmp_path / "tree")
    again = LabelTree.load(tmp_path / "tree")
    assert again == tree
    assert again.built == {"source": "a test"}
    assert again.fingerprint() == tree.fingerprint()
    assert json.loads((tmp_path / "tree" / "manifest.json").read_text())["tree"] == [2, 3, 6]


def test_trees_that_differ_are_not_equal(tree):
    assert tree != LabelTree(OFFSETS, ORDER[::-1])
    assert tree != LabelTree(OFFSETS[1:], ORDER)
    assert tree != "a tree"


def test_nothing_is_overwritten(tree, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for write in (tree.save, tree.export_npz):
        with pytest.raises(SettingError, match="exists already"):
            write(tmp_path / "mine")
        with pytest.raises(SettingError, match=r"thesis\.txt, which is a file"):
            write(tmp_path / "mine" / "thesis.txt" / "tree")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["order.npy", "level0.npy", "level1.npy"])
@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_a_damaged_folder_is_refused(tree, tmp_path, name, how):
    tree.save(tmp_path / "tree")
    file = tmp_path / "tree" / name
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-4] if how == "cut" else content[:-1] + b"\x01")
    with pytest.raises(FormatError, match="the whole folder again"):
        LabelTree.load(tmp_path / "tree")


def test_a_folder_that_is_no_tree_is_refused(tmp_path):
    with pytest.raises(FormatError, match="missing"):
        LabelTree.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1, "sha256": {}}')
    for path in (tmp_path / "manifest.json", tmp_path / "manifest.json" / "tree"):
        with pytest.raises(FormatError, match=r"manifest\.json: a file; expected the folder of a label tree"):
            LabelTree.load(path)
    with pytest.raises(FormatError, match="not that of a label tree"):
        LabelTree.load(tmp_path)


@pytest.mark.parametrize("sizes", [[3, 6], [2, 3, 7], [2, 3, 6, 9], "six", None, 5])
def test_a_manifest_of_another_tree_is_refused(tree, tmp_path, sizes):
    tree.save(tmp_path / "tree")
    file = tmp_path / "tree" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["tree"] = sizes
    file.write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match="expected"):
        LabelTree.load(tmp_path / "tree")


def test_cluster_matrices_say_where_each_child_and_each_label_is(tree):
    top, leaf = tree.cluster_matrix(0), tree.cluster_matrix(1)
    assert top.dtype == leaf.dtype == np.float32
    assert top.toarray().tolist() == [[1, 0], [0, 1], [0, 1]]
    assert leaf.indices.tolist() == [1, 0, 2, 2, 2, 0]  # rows are labels


def test_the_exported_chain_has_the_form_that_pecos_reads(rng, tmp_path):
    tree = random_tree(rng)
    tree.export_npz(tmp_path / "chain")
    n = json.loads((tmp_path / "chain" / "config.json").read_text())["len"]
    chain = [sp.load_npz(tmp_path / "chain" / f"C{i}.npz") for i in range(n)]
    assert [type(m) for m in chain] == [sp.csc_matrix] * 3
    assert [m.shape for m in chain] == [(3, 1), (12, 3), (50, 12)]
    for above, below in pairwise(chain):
        assert above.shape[0] == below.shape[1]
    for matrix in chain:
        assert (np.asarray(matrix.sum(axis=1)) == 1).all()
    from_root = chain[2] @ chain[1]  # which node of level 0 each label is in
    assert (from_root.tocsr().indices == tree.parents(0)[tree.parents(1)][tree.position]).all()


def test_describe_tells_sizes_and_shows_leaves_by_name(tree):
    lines = describe(tree, ["zero", "one", "two", "three", "four", ""], examples=9)
    assert lines[0] == "6 labels under 2 levels of clusters"
    assert lines[2].split()[:2] == ["0", "2"]
    assert "1 to 3, mean 2.00" in lines[3]
    assert "source: a test" in lines
    assert lines[-3:] == ["leaf 0: (label 5) | one", "leaf 1: zero", "leaf 2: two | three | four"]
    assert not any(line.startswith("leaf") for line in describe(tree))


def test_describe_cuts_long_leaves_and_long_names():
    assert describe(LabelTree.from_clusters([[[0]]]), ["x" * 80])[-1] == f"leaf 0: {'x' * 59}…"
    lines = describe(LabelTree.from_clusters([[list(range(30))]]), [str(i) for i in range(30)])
    assert lines[0] == "30 labels under 1 level of clusters"
    assert lines[-1].endswith("10 | 11 | … 18 more")


def test_describe_refuses_names_of_another_number_and_less_than_no_examples(tree):
    for n in (5, 7):
        with pytest.raises(SettingError, match=f"{n} label texts for a tree over 6 labels"):
            describe(tree, ["name"] * n)
    with pytest.raises(SettingError, match="examples: -3"):
        describe(tree, examples=-3)
    assert not any(line.startswith("leaf") for line in describe(tree, ["name"] * 6, examples=0))
