"""The weight and the source of each text: read from fields of the texts' file, or from files beside it.

A weight is a number of 0 or more, by which training multiplies the loss of the text; a missing one is 1. A source
is a name, such as that of the catalog that a record comes from; a missing one is "". `trn_weights.txt` and
`trn_sources.txt` (`tst_…` for the test side) hold one of them per line, for formats without fields.
"""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.read_options import IGNORED
from megalabel.data.text_lines import find_file, lines
from megalabel.data.texts import Texts
from megalabel.errors import DataError, line_of

_IGNORE = f"correct it, or read none: weight_field={IGNORED!r} (--weight-field {IGNORED})"


class Values(NamedTuple):
    """Weights (N,) float64 and N sources, each None where no text has one."""

    weights: np.ndarray | None = None
    sources: Texts | None = None


class RowValues:
    """Collects the weights and sources of texts in the order of their file.

    Args:
        file: the file, for messages.
        findings: collects irregularities, and the number of missing values.
    """

    def __init__(self, file: Path, findings: Findings) -> None:
        self.file, self.findings, self.n = file, findings, 0
        self._weights, self._sources = array("d"), list[str]()  # both end with the last text that has a value

    def add(self, line: int, weight: object, source: object) -> None:
        """Adds the values of a text as they are written; None where there is none."""
        if weight is not None:
            self._weights.extend([math.nan] * (self.n - len(self._weights)))
            try:
                self._weights.append(parsed_weight(weight, line_of(self.file, line)))
            except DataError as error:
                self.findings.error("weight", self.file, error)
                self._weights.append(1.0)
        if source is not None:
            self._sources.extend([""] * (self.n - len(self._sources)))
            try:
                self._sources.append(parsed_source(source, line_of(self.file, line)))
            except DataError as error:
                self.findings.error("source", self.file, error)
                self._sources.append("")
        self.n += 1

    def done(self) -> Values:
        """All values; those that are missing are filled in and counted."""
        weights = sources = None
        if self._weights:
            self._weights.extend([math.nan] * (self.n - len(self._weights)))
            weights = np.array(self._weights, dtype=np.float64)
            missing = np.isnan(weights)
            weights[missing] = 1.0
            self._note(int(missing.sum()), "weight", "is 1")
        if any(self._sources):
            self._sources.extend([""] * (self.n - len(self._sources)))
            self._note(self._sources.count(""), "source", "counts as a source without a name")
            sources = Texts.from_strings(self._sources)
        return Values(weights, sources)

    def _note(self, count: int, what: str, meaning: str) -> None:
        if count:
            message = f"text without a {what}, which {meaning}"
            self.findings.note(f"no-{what}", self.file, message, count=count, severity="info", notable=True)


def parsed_weight(value: object, where: str) -> float:
    """The weight that a number or a text states; DataError unless it is finite and 0 or more."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not (math.isfinite(found) and found >= 0):
        raise DataError(
            f"the weight {value!r}"[:100], wanted="a number of 0 or more", next_step=_IGNORE, where=where
        )
    return found


def parsed_source(value: object, where: str) -> str:
    """The source as a text; numbers are written out; DataError for anything else."""
    if isinstance(value, str):
        try:
            value.encode()
            return value
        except UnicodeEncodeError:
            pass
    elif isinstance(value, int):
        return str(value)
    raise DataError(
        f"the source {value!r}"[:100],
        wanted="a name",
        next_step=f"correct it, or read none: source_field={IGNORED!r} (--source-field {IGNORED})",
        where=where,
    )


def with_files_beside(values: RowValues | None, folder: Path, side: str, n: int, findings: Findings) -> Values:
    """The values of a split, from its file or from `trn_weights.txt` and `trn_sources.txt` beside it.

    Args:
        values: those that the file of the texts has.
        folder: the folder of the data set.
        side: "trn" or "tst".
        n: the number of texts.
        findings: collects irregularities.

    Raises:
        DataError: values in both places, another number of lines than texts, a bad value, or only zeros as
            weights of the training texts.
    """
    found = Values() if values is None else values.done()
    options = findings.options
    fields = {"weights": options.weight_field, "sources": options.source_field}
    for name, field in fields.items():
        file = find_file(folder, f"{side}_{name}.txt")
        if file is None or field == IGNORED:
            continue
        if values is not None and getattr(found, name) is not None:
            raise DataError(
                f"{name} in {values.file.name} and in {file.name}",
                wanted=f"{name} in one place",
                next_step=f"remove {file.name}, or the field",
                where=file,
            )
        found = found._replace(**{name: getattr(_read(file, n, name, findings), name)})
    if side == "trn" and not findings.measured and found.weights is not None:
        check_not_all_zero(found.weights, folder)
        message = (
            f"the losses of the training texts are multiplied by their weights, from {found.weights.min():g} to "
            f"{found.weights.max():g}; --weight-field {IGNORED} ignores them"
        )
        findings.note("weights", None, message, severity="info", notable=True)
    return found


def check_not_all_zero(weights: np.ndarray, where: str | Path) -> None:
    """DataError for weights of which none is above 0."""
    if not (weights > 0).any():
        raise DataError(
            "the weights of all training texts are 0",
            wanted="at least one above 0",
            next_step=_IGNORE,
            where=where,
        )


def _read(file: Path, n: int, name: str, findings: Findings) -> Values:
    """The values of a file with one per line; a blank line is a missing value."""
    found = RowValues(file, findings)
    for number, line in lines(file, findings):
        value = line.strip() or None
        found.add(number, *((value, None) if name == "weights" else (None, value)))
    if found.n != n:
        raise DataError(
            f"{found.n:,} lines for {n:,} texts",
            wanted="one line per text",
            next_step="write the file again from the same texts",
            where=file,
        )
    return found.done()
