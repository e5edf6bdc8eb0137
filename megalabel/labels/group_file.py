"""Reads the label clusters that Spartex and LightXML keep in `label_group<k>.npy`, without running a pickle.

The file holds an array of groups, each a list or an array of labels. As the groups differ in size, numpy stores
them as a pickle; it is read here by an unpickler that makes lists, strings and numbers of it and calls nothing.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from megalabel.errors import DataError, SettingError

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

_PLAIN = re.compile(r"[<>|=]?[USiu]\d{1,9}")
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")


def read_groups(path: str | Path, corpus: Corpus) -> np.ndarray:
    """The cluster of each label of a corpus: (L,) int64, from 0, without empty clusters.

    Labels in the file are names of labels of the corpus or, if most of them are not, ids. Labels that the corpus
    does not have are ignored. A label without a group and without training texts goes to the smallest group.

    Raises:
        SettingError: there is no such file.
        DataError: the file holds no such array, has a label in two groups, or lacks a label with training texts.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingError(
            f"there is no file {path}",
            wanted="a file label_group<k>.npy",
            next_step="leave the option out: the clusters are then made from the training texts",
            where="label_groups",
        )
    groups = _load(path)
    columns = _columns(corpus, groups)
    clusters = np.full(corpus.n_labels, -1, dtype=np.int64)
    for number, group in enumerate(groups):
        for label in group:
            column = columns.get(label, -1)
            if column >= 0 and clusters[column] not in (-1, number):
                raise DataError(f"label {label!r} is in two groups", wanted="each label once", where=path)
            if column >= 0:
                clusters[column] = number
    return _complete(clusters, corpus, path)


def _columns(corpus: Corpus, groups: list[list[str]]) -> dict[str, int]:
    """The column of each label as the file writes it: by name if most labels of the file are names, else by id."""
    by_name = {name: i for i, name in enumerate(corpus.label_texts)}
    labels = [label for group in groups for label in group]
    if sum(label in by_name for label in labels) * 2 > len(labels):
        return by_name
    return {str(i): i for i in range(corpus.n_labels)}


def _complete(clusters: np.ndarray, corpus: Corpus, path: Path) -> np.ndarray:
    missing = np.flatnonzero(clusters < 0)
    counts = np.bincount(corpus.train.labels.indices, minlength=corpus.n_labels)
    needed = missing[counts[missing] > 0]
    if len(needed) or len(missing) == len(clusters):
        first = int(needed[0]) if len(needed) else 0
        raise DataError(
            f"{max(len(needed), 1):,} labels with training texts are in no group, "
            f"the first is {corpus.label_texts[first]!r}",
            wanted=f"a group for every label of {corpus.name}",
            next_step="check that the file belongs to this data set, or leave the option out",
            where=path,
        )
    used, found = np.unique(clusters[clusters >= 0], return_inverse=True)
    made = np.empty_like(clusters)
    made[clusters >= 0] = found
    made[missing] = int(np.bincount(found, minlength=len(used)).argmin())
    return made


def _load(path: Path) -> list[list[str]]:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            _, _, dtype = read(file)
            if dtype.hasobject:
                groups = _Array.unwrap(_Unpickler(file).load())
            else:
                file.seek(0)
                groups = np.load(file, allow_pickle=False).tolist()
        return [[_label(label) for label in group] for group in groups]
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        OSError,
        AttributeError,
        RecursionError,
        MemoryError,
        pickle.UnpicklingError,
    ) as error:
        raise DataError(
            f"cannot be read as groups of labels ({str(error)[:120]})",
            wanted="an array of groups, each a list of labels, as Spartex publishes it",
            next_step="copy it again, or leave the option out",
            where=path,
        ) from error


def _label(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{str(value)[:40]!r} is not a label")
    return str(value)


class _Dtype:
    """Replaces numpy's dtype in the pickle; holds its code, such as `<U5`."""

    def __init__(self, code: str = "", *_: Any) -> None:
        self.code, self.order = str(code), "|"

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])

    def plain(self) -> np.dtype:
        """The dtype of strings or integers."""
        code = self.order + self.code.lstrip("<>|=")
        if not _PLAIN.fullmatch(code):
            raise ValueError(f"an array of {code[:20]}")
        return np.dtype(code)


class _Array:
    """Replaces a numpy array in the pickle."""

    state: Any = ()

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @staticmethod
    def unwrap(value: Any) -> Any:
        """The values as nested lists."""
        if isinstance(value, list | tuple):
            return [_Array.unwrap(item) for item in value]
        if not isinstance(value, _Array):
            return value
        _, shape, dtype, _, data = value.state
        if isinstance(data, list):
            flat = [_Array.unwrap(item) for item in data]
        else:
            flat = np.frombuffer(_bytes(data), dtype=dtype.plain()).tolist()
        if len(shape) > 2:
            raise ValueError(f"an array of {len(shape)} dimensions")
        if len(shape) == 2:
            width = int(shape[1])
            return [flat[start : start + width] for start in range(0, len(flat), width)]
        return flat


def _scalar(dtype: _Dtype, data: Any) -> Any:
    return np.frombuffer(_bytes(data), dtype=dtype.plain())[0].item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


def _bytes(data: Any) -> bytes:
    if not isinstance(data, bytes):
        raise TypeError("values that are not bytes")
    return data


_STAND_INS: dict[str, Any] = {"_reconstruct": _Array, "ndarray": _Array, "dtype": _Dtype, "scalar": _scalar}


class _Unpickler(pickle.Unpickler):
    """Unpickles arrays as instances of the replacement classes above; rejects all other classes and functions."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """The replacement for a name of numpy; raises UnpicklingError for any other name."""
        if module in _MODULES and name in _STAND_INS:
            return _STAND_INS[name]
        if (module, name) == ("_codecs", "encode"):
            return _encode
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not allowed")
