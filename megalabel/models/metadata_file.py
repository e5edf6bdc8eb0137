"""label_metadata.safetensors in the folder of a model: what is known of labels beside their names, memory-mapped.

Texts are two arrays: their UTF-8 one after the other, and where each starts, with the end of the last. See
docs/run-folder.md for the arrays.
"""

from __future__ import annotations

import codecs
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.label_terms import URI, Terms
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.texts import Texts
from megalabel.errors import RESTORE_FOLDER
from megalabel.storage.reading import open_regular, reading
from megalabel.storage.spill import forget
from megalabel.storage.tensor_header import read_header

FILE = "label_metadata.safetensors"
DTYPES = {"U8": np.uint8, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}
_PIECE = 1 << 20  # bytes that are checked at once


def save_metadata(folder: Path, metadata: LabelMetadata | None) -> None:
    """Writes what is known of labels into the folder of a model; nothing where nothing is known."""
    if metadata is None or not metadata:
        return
    arrays: dict[str, np.ndarray] = {}
    for name, texts in (("uris", metadata.uris), ("notations", metadata.notations)):
        if texts is not None:
            arrays |= _text_arrays(name, texts)
    if metadata.terms is not None:
        terms = metadata.terms
        arrays |= {"term_labels": terms.labels, "term_languages": terms.languages, "term_kinds": terms.kinds}
        arrays |= _text_arrays("terms", terms.texts) | _text_arrays("languages", Texts.from_strings(terms.tags))
    if metadata.taxonomy is not None:
        arrays |= {"parent_starts": metadata.taxonomy.starts, "parents": metadata.taxonomy.parents}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / FILE)


def load_metadata(folder: Path, n_labels: int) -> LabelMetadata | None:
    """What `save_metadata` wrote, in its file; None where nothing was written.

    Raises:
        FormatError: the file is damaged or of other labels.
    """
    if not (folder / FILE).is_file():
        return None
    with reading(folder, wanted="the metadata of the labels", next_step=RESTORE_FOLDER):
        file = _Mapped(folder / FILE)
        uris, notations = (file.texts(name, n_labels) for name in ("uris", "notations"))
        found = LabelMetadata(n_labels, uris, notations, file.terms(n_labels), file.taxonomy(n_labels))
        file.forget()
        return found


def _text_arrays(name: str, texts: Texts) -> dict[str, np.ndarray]:
    data = np.frombuffer(b"".join(texts.raw()), np.uint8)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(texts.lengths, out=starts[1:])
    return {name: data, f"{name}_starts": starts}


class _Mapped:
    """The arrays of the file, checked; ValueError or KeyError where they do not fit."""

    def __init__(self, path: Path) -> None:
        with open_regular(path) as file:
            self._header, self._start = read_header(file)
            self._pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def forget(self) -> None:
        """Lets go of the pages that the checks have read."""
        forget(self._pages)

    def array(self, name: str, dtype: str) -> np.ndarray:
        """An array of one dimension in the map."""
        entry = self._header[name]
        start, end = (int(at) for at in entry["data_offsets"])
        (n,) = entry["shape"]
        size = np.dtype(DTYPES[dtype]).itemsize
        inside = 0 <= start <= end <= len(self._pages) - self._start
        if entry["dtype"] != dtype or end - start != n * size or not inside:
            raise ValueError(f"{name} of {entry!s:.100}")
        return (
            np.frombuffer(self._pages, DTYPES[dtype], n, self._start + start) if n else np.zeros(0, DTYPES[dtype])
        )

    def texts(self, name: str, n: int | None) -> Texts | None:
        """N texts; None where there are none of this name."""
        if name not in self._header:
            return None
        data, starts = self.array(name, "U8"), self.array(f"{name}_starts", "I64")
        _check_starts(name, starts, len(data), n)
        decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        for at in range(0, len(data) + 1, _PIECE):
            decoder.decode(data[at : at + _PIECE].tobytes(), at + _PIECE > len(data))
        inner = starts[:-1][starts[:-1] < len(data)]
        if (data[inner] & 0xC0 == 0x80).any():
            raise ValueError(f"{name} that begin within a character")
        return Texts(memoryview(data) if len(data) else b"", starts[:-1], starts[1:])

    def terms(self, n_labels: int) -> Terms | None:
        """The further names of the labels."""
        if "terms" not in self._header:
            return None
        tags = tuple(self.texts("languages", None) or ())
        labels, languages = self.array("term_labels", "I32"), self.array("term_languages", "I16")
        kinds, texts = self.array("term_kinds", "I8"), self.texts("terms", len(labels))
        _check_ids("term_labels", labels, n_labels)
        _check_ids("term_languages", languages, len(tags))
        _check_ids("term_kinds", kinds, URI + 1)
        if not len(labels) == len(languages) == len(kinds) or (np.diff(labels) < 0).any() or texts is None:
            raise ValueError(f"terms of {len(labels)} labels, {len(languages)} languages, {len(kinds)} kinds")
        return Terms(labels, languages, kinds, texts, tags)

    def taxonomy(self, n_labels: int) -> Taxonomy | None:
        """The broader labels."""
        if "parents" not in self._header:
            return None
        starts, parents = self.array("parent_starts", "I64"), self.array("parents", "I32")
        _check_starts("parents", starts, len(parents), n_labels)
        _check_ids("parents", parents, n_labels)
        found = Taxonomy(starts, parents)
        if found.cycle():
            raise ValueError("a cycle of broader labels")
        return found


def _check_starts(name: str, starts: np.ndarray, size: int, n: int | None) -> None:
    if n is not None and len(starts) != n + 1:
        raise ValueError(f"{len(starts) - 1} {name} for {n}")
    if not len(starts) or starts[0] != 0 or starts[-1] != size or (np.diff(starts) < 0).any():
        raise ValueError(f"the starts of {name}")


def _check_ids(name: str, ids: Any, n: int) -> None:
    if len(ids) and not (0 <= ids.min() and ids.max() < n):
        raise ValueError(f"{name} from {ids.min()} to {ids.max()} of {n}")
