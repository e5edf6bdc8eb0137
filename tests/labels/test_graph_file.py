"""A label graph that is kept for the next tree, and frequent labels kept out of a tree."""

from __future__ import annotations

import numpy as np
import pytest
from planted import planted

from megalabel.data.convert import convert
from megalabel.errors import FormatError, SettingError
from megalabel.labels import graph
from megalabel.labels.build import build_tree
from megalabel.labels.tree import LabelTree


def test_the_next_tree_reads_the_graph_of_the_last(tmp_path, monkeypatch):
    data, file = planted(), tmp_path / "graph.npz"
    expected = build_tree(data, depths=(2, 4))
    assert build_tree(data, depths=(2, 4), graph_file=str(file)) == expected
    said: list[str] = []
    monkeypatch.setattr(graph, "label_graph", lambda *_, **__: pytest.fail("walked again"))
    assert build_tree(data, depths=(2, 4), graph_file=str(file), say=said.append) == expected
    assert any("edges from" in line for line in said)
    assert build_tree(data, depths=(3,), graph_file=str(file)).depth == 1  # of another shape


@pytest.mark.parametrize("changes", [{"walk_length": 30}, {"seed": 1}, {"graph_top_k": 3}])
def test_a_graph_of_other_settings_is_refused(changes, tmp_path):
    file = str(tmp_path / "graph.npz")
    build_tree(planted(), depths=(2,), graph_file=file)
    with pytest.raises(SettingError, match=r"and not"):
        build_tree(planted(), depths=(2,), graph_file=file, **changes)


def test_a_graph_of_other_texts_and_a_damaged_one_are_refused(tmp_path):
    file = tmp_path / "graph.npz"
    build_tree(planted(), depths=(2,), graph_file=str(file))
    with pytest.raises(SettingError, match="other texts and labels"):
        build_tree(planted(seed=1), depths=(2,), graph_file=str(file))
    whole = file.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no graph"):
        file.write_bytes(content)
        with pytest.raises(FormatError, match="label graph"):
            build_tree(planted(), depths=(2,), graph_file=str(file))
    np.savez(file, a=np.arange(3))
    with pytest.raises(FormatError, match="label graph"):
        build_tree(planted(), depths=(2,), graph_file=str(file))
    for settings in ({"graph_file": "graph.txt"}, {"graph_file": str(file), "graph": False}):
        with pytest.raises(SettingError, match="graph"):
            build_tree(planted(), depths=(2,), **settings)


def test_frequent_labels_are_a_cluster_of_their_own(tmp_path):
    data = planted()
    counts = np.bincount(data.train.labels.indices, minlength=64)
    above = int(np.sort(counts)[-6])  # five labels have more texts, or fewer where counts are equal
    tree = build_tree(data, depths=(2, 4), head_labels_above=above)
    assert tree.sizes == (5, 17, 64)
    last = tree.order[tree.offsets[-1][-2] :]
    assert sorted(last) == np.flatnonzero(counts > above).tolist()
    assert tree.offsets[0][-2:].tolist() == [16, 17]  # one cluster of one cluster
    plain = build_tree(data, depths=(2, 4))
    assert plain.sizes == (4, 16, 64)
    assert build_tree(data, depths=(2, 4), head_labels_above=10**6) == plain
    tree.save(tmp_path / "tree")
    assert LabelTree.load(tmp_path / "tree") == tree
    with pytest.raises(SettingError, match="leaves"):
        build_tree(data, depths=(2, 4), head_labels_above=1)


def test_the_command_has_both(command, tmp_path):
    convert(planted(), tmp_path / "data", "raw")
    build = ["tree", "build", tmp_path / "data", "--clusters", "4,16", "--graph-file", tmp_path / "graph.npz"]
    status, said, err = command(*build, "--head-labels-above", "30", "--out", tmp_path / "tree")
    assert status == 0, err
    assert LabelTree.load(tmp_path / "tree").sizes == (5, 17, 64)
    status, said, err = command(*build, "--out", tmp_path / "other")
    assert status == 0, err
    assert "edges from" in said
    status, _, err = command(*build, "--walk-length", "3", "--out", tmp_path / "third")
    assert status == 2
    assert "--walk-length 400 and not 3" in err
