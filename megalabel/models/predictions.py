"""`Predictions`: rankings with the names and the URIs of their labels, which convert to tables and JSON lines."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.label_metadata import LabelMetadata
from megalabel.errors import MissingExtra
from megalabel.types import TopK

COLUMNS = ("text", "id", "label", "score")  # of CSV and pandas: the number of the text, and the label


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(TopK):
    """The best labels of each text with their names: a sequence of lists of pairs (name, score).

    Attributes:
        names: the names of all L labels.
        score_type: what the scores are; see `megalabel.models.scores`.
        metadata: URIs, notations and more of all L labels; None where nothing is known of them.
        fields: for each text, further fields that are passed on to JSON lines and Parquet; () for none.
    """

    names: Sequence[str] = ()
    score_type: str = ""
    fields: Sequence[dict[str, Any]] = ()
    metadata: LabelMetadata | None = None

    def label(self, i: int) -> str:
        """The name of a label."""
        return self.names[i]

    def __getitem__(self, at: int | slice) -> Any:
        found = super().__getitem__(at)
        return replace(found, fields=self.fields[at]) if isinstance(at, slice) and self.fields else found

    def __repr__(self) -> str:
        return super().__repr__() + (f"\n  scores: {self.score_type}" if self.score_type else "")

    def in_language(self, language: str) -> Predictions:
        """The same with names in a language, where labels have one there; SettingError for an unknown language."""
        known = self.metadata or LabelMetadata(len(self.names))
        return replace(self, names=known.names_in(language, self.names))

    @property
    def identifiers(self) -> dict[str, Sequence[str]]:
        """The URIs and the notations of all L labels, "" for none, by "uri" and "notation"; only what there is."""
        known = self.metadata or LabelMetadata(len(self.names))
        both = {"uri": known.uris, "notation": known.notations}
        return {key: texts for key, texts in both.items() if texts is not None}

    def to_list(self) -> list[list[tuple[str, float]]]:
        """For each text, its labels as pairs (name, score), best first."""
        return list(self)

    def to_csr(self) -> sp.csr_matrix:
        """The scores as a scipy matrix (texts, L) float32."""
        return self.csr(len(self.names))

    def to_pandas(self) -> Any:
        """A table with a row per predicted label: text (from 0), id, label, score, and uri and notation if labels
        have some; MissingExtra without pandas.
        """
        try:
            import pandas  # type: ignore[import-untyped,unused-ignore]
        except ImportError as error:
            raise MissingExtra(
                "pandas is not installed",
                wanted="pandas for a table",
                next_step="run pip install pandas, or use records()",
            ) from error
        ids, scores = self.numpy()
        rows, columns = np.nonzero(ids >= 0)
        found = ids[rows, columns]
        names = [self.names[i] for i in found.tolist()]
        values = (rows, found, names, scores[rows, columns])
        more = {key: [texts[i] for i in found.tolist()] for key, texts in self.identifiers.items()}
        return pandas.DataFrame(dict(zip(COLUMNS, values, strict=True)) | more)

    def records(self) -> Iterator[dict[str, Any]]:
        """For each text its fields, `score_type`, and `labels` with id, label, `uri` and `notation` of labels that
        have these, and score, as JSON can hold it.
        """
        ids, scores, known, names = *self.numpy(), self.identifiers, self.names
        more = self.fields or [{}] * len(ids)
        for fields, row, values in zip(more, ids.tolist(), scores.tolist(), strict=True):
            pairs = [(i, float(f"{s:.6g}")) for i, s in zip(row, values, strict=True) if i >= 0]
            if known:
                labels = [{"id": i, "label": names[i], **_own(known, i), "score": s} for i, s in pairs]
            else:
                labels = [{"id": i, "label": names[i], "score": s} for i, s in pairs]
            yield {**fields, "score_type": self.score_type, "labels": labels}

    def write(self, file: IO[str], kind: str = "jsonl", *, first: int = 0) -> None:
        """Writes lines of text: JSON lines, the rows of CSV or TSV, or those of Annif.

        Annif's line is `<uri>`, label, notation and score, separated by tabs, without what a label does not have.
        Annif's lines of two texts are separated by an empty line. A table begins with a header if `first` is 0.

        Args:
            file: where to.
            kind: "jsonl", "csv", "tsv" or "annif".
            first: the number of the first text, in a file that is written block by block.
        """
        if kind == "jsonl":
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in self.records())
        elif kind == "annif":
            for i, lines in enumerate(self._annif_lines(), first):
                file.write("\n" if i else "")
                file.writelines(lines)
        else:
            table = csv.writer(file, delimiter="," if kind == "csv" else "\t", lineterminator="\n")
            ids, scores, known = *self.numpy(), self.identifiers
            if first == 0:
                table.writerow((*COLUMNS, *known))
            for i, (row, values) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True), first):
                for label, score in zip(row, values, strict=True):
                    if label >= 0:
                        more = (texts[label] for texts in known.values())
                        table.writerow((i, label, self.names[label], f"{score:.6g}", *more))

    def _annif_lines(self) -> Iterator[list[str]]:
        """The lines of each text."""
        ids, scores, known = *self.numpy(), self.identifiers
        for row, values in zip(ids.tolist(), scores.tolist(), strict=True):
            lines = []
            for label, score in zip(row, values, strict=True):
                if label >= 0:
                    own = _own(known, label)
                    uri = [f"<{own['uri']}>"] if "uri" in own else []
                    cells = [*uri, " ".join(self.names[label].split()), own.get("notation", ""), f"{score:.6g}"]
                    lines.append("\t".join(cell for cell in cells if cell) + "\n")
            yield lines

    def save(self, path: str | Path) -> None:
        """Writes a file in the format of its suffix; see `prediction_files.format_of`."""
        importlib.import_module("megalabel.models.prediction_files").save([self], path)  # which imports this one


def _own(identifiers: dict[str, Sequence[str]], label: int) -> dict[str, str]:
    """The URI and the notation of a label, if it has them."""
    return {key: text for key, texts in identifiers.items() if (text := texts[label])}
