import json

import numpy as np
import pytest
import scipy.sparse as sp
from planted import planted

from megalabel.labels.build import build_tree
from megalabel.labels.tree import LabelTree


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The planted corpus as JSON lines."""
    data, path = planted(), tmp_path_factory.mktemp("data") / "planted"
    path.mkdir()
    rows = np.split(data.train.labels.indices, data.train.labels.indptr[1:-1])
    records = ({"text": text, "labels": row.tolist()} for text, row in zip(data.train.texts, rows, strict=True))
    (path / "train.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (path / "labels.txt").write_text("\n".join(data.label_texts) + "\n")
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree of the planted corpus in its folder."""
    path = tmp_path_factory.mktemp("trees") / "tree"
    build_tree(planted(), depths=(1, 3)).save(path)
    return path


def test_build_writes_the_tree_that_the_library_builds(command, folder, tmp_path):
    status, out, err = command("tree", "build", folder, "--out", tmp_path / "tree")
    assert status == 0, err
    assert "depths 3: 8 clusters, 8.0 labels per leaf (chosen from the number of labels)" in out
    assert [line.split()[0] for line in out.splitlines()[1:6]] == [
        "texts",
        "features",
        "graph",
        "smoothing",
        "clusters",
    ]
    assert LabelTree.load(tmp_path / "tree") == build_tree(planted())


def test_every_option_reaches_the_tree(command, folder, tmp_path):
    options = (
        "--source both --clusters 4,16 --no-graph --cluster-features 30 --tokenizer symbols "
        "--vocabulary 90 --max-length 9 --seed 3 --threads 1"
    ).split()
    status, out, err = command("tree", "build", folder, "--out", tmp_path / "tree", *options)
    assert status == 0, err
    assert "graph" not in out
    same = build_tree(
        planted(),
        source="both",
        depths=(2, 4),
        graph=False,
        cluster_features=30,
        tokenizer="symbols",
        vocabulary=90,
        max_length=9,
        seed=3,
    )
    found = LabelTree.load(tmp_path / "tree")
    assert found == same
    assert found.built == same.built
    walks = ["--normalize", "--walk-length", 7, "--restart-probability", 0.5, "--graph-top-k", 2]
    assert command("tree", "build", folder, "--out", tmp_path / "other", *walks)[0] == 0
    other = LabelTree.load(tmp_path / "other")
    assert other.built["graph"] == {"walk_length": 7, "restart_probability": 0.5, "top_k": 2}
    assert other.built["normalize"] is True
    assert other == build_tree(planted(), normalize=True, walk_length=7, restart_probability=0.5, graph_top_k=2)


def test_show_tells_sizes_and_with_data_some_leaves(command, tree, folder):
    status, out, _ = command("tree", "show", tree)
    assert status == 0
    assert out.startswith("64 labels under 2 levels of clusters\n")
    assert "source: texts" in out
    assert "leaf 0" not in out
    status, _, err = command("tree", "show", tree, "--examples", -3)
    assert status == 2
    assert "--examples: -3" in err
    _, out, _ = command("tree", "show", tree, "--data", folder, "--examples", 2)
    leaves = [line for line in out.splitlines() if line.startswith("leaf")]
    assert len(leaves) == 2
    assert "a w" in leaves[0]


def test_export_writes_the_chain(command, tree, tmp_path):
    status, out, _ = command("tree", "export", tree, tmp_path / "chain")
    assert status == 0
    assert "3 matrices" in out
    assert [sp.load_npz(tmp_path / "chain" / f"C{i}.npz").shape for i in range(3)] == [(2, 1), (8, 2), (64, 8)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--source", "titles"], "--source: 'titles' is not one of texts, names, both"),
        (["--clusters", "10-13"], "--clusters: '10-13' is not"),
        (["--clusters", "10"], "--clusters: 10 is not a power of two"),
        (["--clusters", "16,16"], "--clusters = 16,16"),
        (["--clusters", "512"], "512 clusters on the coarsest level, of 64 labels"),
        (["--cluster-features", 0], "--cluster-features: 0 is not"),
        (["--restart-probability", 2], "--restart-probability: 2"),
        (["--tokenizer", "own"], "--tokenizer: 'own' is not one of words, symbols"),
        (["--seed", -1], "--seed: -1 is not"),
        (["--threads", 0], "--threads: 0 is not"),
    ],
)
def test_wrong_options_get_one_line(command, folder, tmp_path, options, said):
    status, _, err = command("tree", "build", folder, "--out", tmp_path / "tree", *options)
    assert status == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "tree").exists()


def test_an_existing_folder_is_refused_before_any_work(command, folder, tree, tmp_path):
    for given in (["build", folder, "--out", tree], ["export", tree, tree]):
        status, out, err = command("tree", *given)
        assert (status, out) == (2, "")
        assert "exists already; expected a new folder" in err
    (tmp_path / "file").write_text("mine")
    assert command("tree", "build", folder, "--out", tmp_path / "file")[0] == 2
    status, out, err = command("tree", "build", folder, "--out", tmp_path / "file" / "tree")
    assert (status, out) == (2, "")
    assert "which is a file; expected a new folder" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_damaged_folder_and_one_that_is_none_get_one_line(command, tree, tmp_path):
    import shutil

    shutil.copytree(tree, tmp_path / "tree")
    (tmp_path / "tree" / "order.npy").write_bytes(b"")
    for path, said in (
        (tmp_path / "tree", "order.npy: the file is missing or differs from the manifest"),
        (tmp_path / "none", "there is no such folder; expected the folder of a label tree"),
        (tmp_path / "tree" / "order.npy", "a file; expected the folder of a label tree"),
    ):
        status, _, err = command("tree", "show", path)
        assert status == 2
        assert said in err
        assert err.count("\n") == 1


def test_a_tree_of_another_data_set_is_refused(command, folder, tmp_path):
    LabelTree.from_clusters([[[0, 1], [2]]]).save(tmp_path / "small")
    status, _, err = command("tree", "show", tmp_path / "small", "--data", folder)
    assert status == 2
    assert "the label tree has 3 labels, planted has 64" in err


def test_bags_of_words_are_used_as_they_are(command, tmp_path):
    rows = [f"{i % 4} {i % 4}:1.0 {4 + i % 3}:0.5" for i in range(24)]
    (tmp_path / "train.txt").write_text("24 7 4\n" + "\n".join(rows) + "\n")
    status, out, err = command("tree", "build", tmp_path, "--out", tmp_path / "tree")
    assert status == 0, err
    assert "24 texts" in out
    status, _, err = command("tree", "build", tmp_path, "--out", tmp_path / "other", "--source", "names")
    assert status == 0, err  # labels without names are called 0, 1, 2, …
