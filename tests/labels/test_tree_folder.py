"""Label trees as folders, as chains of cluster matrices and as text."""

import json
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from support.manifests import edited
from support.small_trees import OFFSETS, ORDER, random_tree

from megalabel.errors import FormatError, SettingError
from megalabel.labels.describe import describe
from megalabel.labels.tree import LabelTree


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
    with pytest.raises(FormatError, match=r"no label tree.*tree build"):
        LabelTree.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1, "sha256": {}}')
    for path in (tmp_path / "manifest.json", tmp_path / "manifest.json" / "tree"):
        with pytest.raises(FormatError, match=r"manifest\.json: a file; expected the folder of a label tree"):
            LabelTree.load(path)
    with pytest.raises(FormatError, match="not one of a label tree"):
        LabelTree.load(tmp_path)


@pytest.mark.parametrize("sizes", [[3, 6], [2, 3, 7], [2, 3, 6, 9], "six", None, 5])
def test_a_manifest_of_another_tree_is_refused(tree, tmp_path, sizes):
    tree.save(tmp_path / "tree")
    with edited(tmp_path / "tree") as manifest:
        manifest["tree"] = sizes
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
