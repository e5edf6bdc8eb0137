"""The label groups of Spartex are read as they are published, and no pickle runs."""

import os
import pickle

import numpy as np
import pytest

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.labels.group_file import read_groups

IDS = Corpus.of(["a", "b", "c"], [[0, 10], [2, 3], [1]], [str(i) for i in range(11)])
NAMES = Corpus.of(["a", "b"], [["x", "y"], ["zebra"]], ["y", "zebra", "x", "unused"])


def ragged(groups):
    made = np.empty(len(groups), dtype=object)
    made[:] = groups
    return made


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", [list, np.array], ids=["lists", "arrays"])
def test_ragged_groups_of_strings(tmp_path, kind, protocol):
    groups = ragged([kind(["0", "10"]), kind(["2", "3", "1"])])
    path = tmp_path / "label_group0.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (2,)})
        pickle.dump(groups, file, protocol=protocol)
    assert read_groups(path, IDS).tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]


def test_as_numpy_saves_them_with_numbers_and_numpy_scalars(tmp_path):
    path = tmp_path / "label_group0.npy"
    for groups in (
        [[0, 10], [1, 2, 3]],
        [[np.int64(0), np.int64(10)], [np.str_("1"), np.str_("2"), np.str_("3")]],
    ):
        np.save(path, ragged(groups), allow_pickle=True)
        assert read_groups(path, IDS)[[0, 10, 1, 2, 3]].tolist() == [0, 0, 1, 1, 1]


def test_names_in_a_plain_array_and_labels_without_texts(tmp_path):
    path = tmp_path / "label_group0.npy"
    np.save(path, np.array([["x", "zebra"], ["y", "elsewhere"]]))
    assert read_groups(path, NAMES).tolist() == [1, 0, 0, 1]  # the unused label joins the smallest group


def test_groups_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "label_group0.npy"
    with pytest.raises(SettingError, match="there is no file"):
        read_groups(path, NAMES)
    np.save(path, np.array([["x"], ["y"]]))
    with pytest.raises(DataError, match="'zebra'"):
        read_groups(path, NAMES)
    np.save(path, np.array([["x", "y"], ["y", "zebra"]]))
    with pytest.raises(DataError, match="'y' is in two groups"):
        read_groups(path, NAMES)
    for content in (b"", b"\x93NUMPY\x01\x00", b"no numpy"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as groups"):
            read_groups(path, NAMES)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_a_pickle_that_calls_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("label_group0.npy", ragged([[Harmful()], ["y"]]), allow_pickle=True)
    with pytest.raises(DataError, match="mkdir, which is not allowed"):
        read_groups("label_group0.npy", NAMES)
    assert not (tmp_path / "harmed").exists()
