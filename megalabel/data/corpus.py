"""`Corpus`, a data set with its training and test split: opened from files, bundled, or made in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from megalabel.data.catalog import bundled_folder, check_constants, propensity_constants
from megalabel.data.findings import Findings
from megalabel.data.in_memory import data_from_memory
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.metadata_records import metadata_of
from megalabel.data.opening import read_data
from megalabel.data.read_options import ReadOptions
from megalabel.data.shown import corpus_html
from megalabel.data.splitting import with_test_split
from megalabel.data.taxonomy_file import taxonomy_of
from megalabel.data.types import CorpusData, Split, Unseen
from megalabel.errors import SettingError

__all__ = ["Corpus", "Split", "Unseen"]


@dataclass(frozen=True, eq=False, repr=False)
class Corpus(CorpusData):
    """A data set: `Corpus.open(folder)`, `Corpus.bundled("wordnet-4k")` or `Corpus.of(texts, labels)`.

    The attributes are those of `CorpusData`.
    """

    @property
    def propensity_constants(self) -> tuple[float, float]:
        """A and B of the propensity model: as given, else as the catalog lists for the name, else 0.55 and 1.5."""
        return propensity_constants(self.name) if self.propensity is None else self.propensity

    def _repr_html_(self) -> str:
        """The splits and the first training texts as tables, for notebooks."""
        return corpus_html(self)

    @classmethod
    def open(
        cls,
        path: str | Path,
        name: str | None = None,
        *,
        format: str | None = None,
        text_field: str | None = None,
        labels_field: str | None = None,
        weight_field: str | None = None,
        source_field: str | None = None,
        leave_out_source: str | None = None,
        label_separator: str | None = None,
        encoding: str | None = None,
        text_parts: str | None = None,
        text_separator: str | None = None,
        propensity: Sequence[float] | None = None,
    ) -> Self:
        """Reads a data set from a folder or a file and detects its format; see `megalabel.data.opening`.

        Args:
            path: a folder, or one file of training texts (JSON lines, CSV, Parquet, Annif TSV, or an XML
                Repository file).
            name: the name of the data set, by which presets and propensity constants are found; default: the name
                of the folder or file.
            format: the format, needed only where a folder holds several.
            text_field, labels_field: the columns or keys of texts and labels, instead of `text` and `labels`.
            weight_field, source_field: the columns or keys of the texts' weights and sources in JSON lines, CSV
                and Parquet, instead of `weight` and `source`; "-" to read none.
            leave_out_source: the source whose texts are left out of the training side.
            label_separator: the text between the labels of one cell; without it, it is guessed where the cells
                show it.
            encoding: the encoding of text files, instead of UTF-8.
            text_parts: what makes a text where the files hold titles and contents: "title", "content" or "both";
                default: the title of a set that is published as one of titles, else both.
            text_separator: the text between title and content; default: a space, or what the layout has.
            propensity: A and B of the propensity model; default: those that the catalog lists for the name.

        Returns:
            The data set; texts beyond 64 MiB are in a temporary file. Its `findings` hold every guess.

        Raises:
            DataError: there is no readable data set, or a value that must not be trained on; the error names the
                file and the line.
            SettingError: there is no format of that name, or an option has an impossible value.
        """
        options = ReadOptions(
            format, text_field, labels_field, weight_field, source_field, leave_out_source, label_separator,
            encoding, text_parts, text_separator,
        )  # fmt: skip
        if propensity is not None:
            check_constants(propensity)
        data = read_data(path, name=name, findings=Findings(options=options))
        if Path(path).is_file():  # the reader names the folder around it, which may hold other data
            data = replace(data, path=Path(path))
        return cls.from_data(data, propensity)

    @classmethod
    def bundled(cls, name: str = "wordnet-4k") -> Self:
        """Opens a data set of the package: "wordnet-4k" (4,044 labels) or "wordnet" (145,716 labels).

        The texts are definitions of WordNet 3.0 and the labels are words; the license lies beside the files.

        Raises:
            SettingError: the package has no data set of that name.
        """
        return cls.open(bundled_folder(name), name)

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        labels: Sequence[Sequence[int]] | Sequence[Sequence[str]] | Any,
        label_texts: Iterable[str] | None = None,
        *,
        test_texts: Iterable[str] | None = None,
        test_labels: Sequence[Sequence[int]] | Sequence[Sequence[str]] | Any = None,
        filter: np.ndarray | None = None,
        test_filter: np.ndarray | None = None,
        weights: Sequence[float] | Any = None,
        sources: Sequence[str] | Any = None,
        test_sources: Sequence[str] | Any = None,
        name: str = "corpus",
    ) -> Self:
        """Makes a data set from values in memory, which are checked as files are.

        Args:
            texts: the N training texts.
            labels: the labels of each text: a list of ids, a list of names or a set of names (which is sorted), or
                for all texts a matrix (N, L) of ones and zeros: scipy sparse, an array, a data frame (whose
                columns then are the label names), or rows of L zeros and ones.
            label_texts: the L label names. Without them, names get ids by their first appearance in `labels`, and
                the name of an id is the id itself.
            test_texts, test_labels: the test split. Names that no training text has are kept in `test.unseen`.
            filter, test_filter: (F, 2) integer pairs (row, label).
            weights: (N,) finite numbers of 0 or more, the factor of the loss of each training text; None for 1
                each, in the list for 1.
            sources, test_sources: names of where each text comes from.
            name: the name of the data set.

        Raises:
            DataError: numbers of texts and label sets that differ, ids out of range, names that are not in
                `label_texts`, or no label at all.
            SettingError: `name` is not a string.
        """
        more = {"weights": weights, "sources": sources, "test_sources": test_sources}
        train, test = (texts, labels, filter), (test_texts, test_labels, test_filter)
        return cls.from_data(data_from_memory(train, test, label_texts=label_texts, name=name, **more))

    @classmethod
    def from_data(cls, data: CorpusData, propensity: Sequence[float] | None = None) -> Self:
        """A corpus of what a reader returned, optionally with constants A and B of the propensity model.

        Raises:
            SettingError: `data` is not a `CorpusData`, or the constants are not two numbers above 0.
        """
        if not isinstance(data, CorpusData):
            raise SettingError(
                f"a {type(data).__name__}",
                wanted="a CorpusData or Corpus",
                next_step="give values in memory to Corpus.of, and paths to Corpus.open",
                where="data",
            )
        if propensity is not None:
            constants = check_constants(propensity)
            data = replace(data, propensity=constants, opened={**data.opened, "propensity": list(constants)})
        return cls(**{field.name: getattr(data, field.name) for field in fields(data)})

    def with_metadata(
        self,
        records: Mapping[Any, Mapping[str, Any]] | None = None,
        taxonomy: Iterable[tuple[str, str]] | None = None,
    ) -> Self:
        """The same data with metadata of the labels in place of those that they have.

        Args:
            records: by the name, the URI or the id of a label a dictionary; see `data.metadata_records`. None for
                the metadata that there are.
            taxonomy: pairs of a parent and a child, names or URIs; the parents of names that are no labels become
                those of their children. None for the parents in the records.

        Raises:
            DataError: an unknown label, other keys or values, no label among the pairs, or a cycle.
            SettingError: an alternative name of several labels.
        """
        names, known = self.label_texts, self.metadata or LabelMetadata(self.n_labels)
        if records is not None:
            known = metadata_of(names, records, known)
        if taxonomy is not None:
            pairs = [(str(parent), str(child)) for parent, child in taxonomy]
            known = replace(known, taxonomy=taxonomy_of(pairs, names, known, "taxonomy", Findings()))
        return replace(self, metadata=known)

    def with_test_split(self, test_fraction: float = 0.1, *, seed: int = 0) -> Self:
        """The same data with a random part of the training texts as the test split; see `data.splitting`.

        >>> corpus = Corpus.of(["a", "b", "c", "d"], [["x"], ["y"], ["x"], ["y"]])
        >>> corpus.with_test_split(0.25)
        Corpus('corpus': 3 training texts, 1 test texts, 2 labels)
        """
        return with_test_split(self, test_fraction, seed=seed)

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the texts, labels, names, filter pairs, and weights and sources where there are
        some; equal for equal data.
        """
        total = hashlib.sha256(self.label_texts.sha256().encode())
        for split in (self.train, self.test):
            if split is None:
                total.update(b"-")
                continue
            total.update(split.texts.sha256().encode())
            total.update(np.asarray(split.labels.shape, dtype="<i8").tobytes())
            for part in (split.labels.indptr, split.labels.indices):
                total.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
            if split.filter is not None:
                total.update(np.ascontiguousarray(split.filter, dtype="<i8").tobytes())
            if split.features is not None:
                for part in (split.features.indptr, split.features.indices):
                    total.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
                total.update(np.ascontiguousarray(split.features.data, dtype="<f4").tobytes())
            if split.weights is not None:
                total.update(b"weights" + np.ascontiguousarray(split.weights, dtype="<f8").tobytes())
            if split.sources is not None:
                total.update(b"sources" + split.sources.sha256().encode())
        return total.hexdigest()
