"""Reads label ids row by row, and makes the label matrix and the filter pairs from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from megalabel.data.findings import Findings
from megalabel.data.label_parsing import parse_block, parse_line
from megalabel.data.text_lines import blocks, find_file, without_carriage_returns
from megalabel.data.texts import Texts
from megalabel.errors import DataError, line_of

MAX_LABELS = 2**31 - 1


@dataclass(frozen=True)
class LabelRows:
    """The labels of N rows as a file lists them, not yet checked against the number of labels.

    Attributes:
        file: the file, for messages.
        ids: (P,) int64, the label ids of all rows, row after row.
        counts: (N,) int64, the number of labels of each row.
        lines: (N,) int64, the line of each row in the file, for messages.
    """

    file: Path
    ids: np.ndarray
    counts: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def rows(self) -> np.ndarray:
        """The row of each label: (P,) int64."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def keep(self, mask: np.ndarray) -> LabelRows:
        """The same rows with only the labels that a mask (P,) bool selects."""
        counts = np.bincount(self.rows()[mask], minlength=len(self.counts)).astype(np.int64)
        return LabelRows(self.file, self.ids[mask], counts, self.lines)


def read_label_rows(path: Path, findings: Findings) -> tuple[LabelRows, tuple[bool, bool]]:
    """Reads every line as a row of labels, including a header if there is one.

    Returns:
        The rows, and whether the first line and any other line holds a colon; a header never does.
    """
    ids: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    counts: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    in_first = in_rest = False
    for first, raw in blocks(path, findings):
        block = without_carriage_returns(path, first, raw, findings)
        cut = 0
        if first == 1:  # a header has another form than the rows, so it is parsed by itself
            cut = block.find(b"\n") + 1 or len(block)
            in_first = b":" in block[:cut]
            _parse(path, 1, block[:cut], ids, counts, findings)
        in_rest = in_rest or block.find(b":", cut) >= 0
        if cut < len(block):
            _parse(path, first + (cut > 0), block[cut:], ids, counts, findings)
    all_counts = np.concatenate(counts)
    lines = np.arange(1, len(all_counts) + 1)
    return LabelRows(path, np.concatenate(ids), all_counts, lines), (in_first, in_rest)


def _parse(
    path: Path, first: int, block: bytes, ids: list[np.ndarray], counts: list[np.ndarray], findings: Findings
) -> None:
    fast = parse_block(block)
    if fast is not None:
        ids.append(fast[0])
        counts.append(fast[1])
        return
    parsed: list[int] = []
    per_row: list[int] = []
    for number, line in enumerate(block.removesuffix(b"\n").split(b"\n"), first):
        labels, bad = parse_line(line)
        for token in bad:
            error = DataError(
                token.found, wanted=token.wanted, next_step=token.next_step, where=line_of(path, number)
            )
            findings.error(token.kind, path, error)
        parsed += labels
        per_row.append(len(labels))
    ids.append(np.asarray(parsed, dtype=np.int64))
    counts.append(np.asarray(per_row, dtype=np.int64))


def label_matrix(rows: LabelRows, n_labels: int, findings: Findings, known_from: str) -> sp.csr_matrix:
    """Makes the label matrix: (N, L) float32 CSR of ones with sorted indices.

    A label that occurs twice in a row counts once and is noted.

    Args:
        rows: the labels of N rows.
        n_labels: the number of labels, L.
        findings: collects irregularities.
        known_from: the source of L for messages, such as "Y.txt has".

    Raises:
        DataError: an id is L or more.
    """
    beyond = rows.ids >= n_labels
    if beyond.any():
        first = int(beyond.argmax())
        error = DataError(
            f"names label {rows.ids[first]}, but {known_from} {n_labels} labels",
            wanted=f"ids from 0 to {n_labels - 1}",
            next_step="check that both files belong together and that ids count from 0",
            where=line_of(rows.file, int(rows.lines[rows.rows()[first]])),
        )
        findings.error("range", rows.file, error, count=int(beyond.sum()))
        rows = rows.keep(~beyond)
    n, of_label = len(rows), rows.rows()
    keys = of_label * n_labels + rows.ids
    steps = np.diff(keys)
    if (steps <= 0).any():
        keys = np.sort(keys)
        repeated = np.flatnonzero(np.diff(keys) == 0)
        if len(repeated):
            row, label = divmod(int(keys[repeated[0]]), n_labels)
            findings.note(
                "duplicate",
                rows.file,
                f"label {label} occurs twice in the row, counted once",
                line=int(rows.lines[row]),
                count=len(repeated),
            )
            keys = np.delete(keys, repeated)
    indptr = np.searchsorted(keys, np.arange(n + 1) * n_labels)
    indices = (keys % n_labels).astype(np.int32) if n_labels else np.zeros(0, dtype=np.int32)
    matrix = sp.csr_matrix((np.ones(len(keys), dtype=np.float32), indices, indptr), shape=(n, n_labels))
    matrix.has_sorted_indices = True
    matrix.has_canonical_format = True
    return matrix


def check_count(texts: Texts, texts_file: Path, rows: LabelRows) -> None:
    """Raises DataError unless there is one row of labels for each text."""
    if len(texts) == len(rows):
        return
    longer, shorter = (texts_file, rows.file) if len(texts) > len(rows) else (rows.file, texts_file)
    last = texts.lengths[-1:] if longer == texts_file else rows.counts[-1:]
    step = "remove the blank last line of" if len(last) and last[0] == 0 else "look for the additional line of"
    raise DataError(
        f"{len(texts):,} texts, but {rows.file.name} has {len(rows):,} rows of labels",
        wanted="one row of labels for each text, an empty row for a text without labels",
        next_step=f"{step} {longer.name}, or complete {shorter.name}",
        where=texts_file,
    )


def filter_file(folder: Path, side: str) -> Path | None:
    """The file of the filter pairs of a split ("trn" or "tst"), or None."""
    other = {"trn": "train", "tst": "test"}[side]
    return find_file(folder, f"{side}_filter_labels.txt", f"filter_labels_{other}.txt")


def read_filter(folder: Path, side: str, shape: tuple[int, int], findings: Findings) -> np.ndarray | None:
    """Reads the filter pairs of a split.

    Args:
        folder: the folder of the data set.
        side: the prefix of the split's files, "trn" or "tst".
        shape: the numbers of texts and labels of the split.
        findings: collects irregularities.

    Returns:
        (F, 2) int64 pairs (row, label), or None where there is no such file.
    """
    path = filter_file(folder, side)
    if path is None:
        return None
    rows, _ = read_label_rows(path, findings)
    blank = np.flatnonzero(rows.counts == 0)
    if len(blank):
        findings.note("blank", path, "blank line, ignored", line=int(blank[0]) + 1, count=len(blank))
    not_pairs = np.flatnonzero((rows.counts != 0) & (rows.counts != 2))
    if len(not_pairs):
        error = DataError(
            f"{rows.counts[not_pairs[0]]} numbers on the line",
            wanted="two, a row and a label",
            where=line_of(path, int(not_pairs[0]) + 1),
        )
        findings.error("pair", path, error, count=len(not_pairs))
        rows = LabelRows(
            path,
            rows.ids[np.repeat(rows.counts == 2, rows.counts)],
            rows.counts[rows.counts == 2],
            rows.lines[rows.counts == 2],
        )
    lines = rows.lines[rows.counts == 2]
    pairs = rows.ids.reshape(-1, 2)
    beyond = (pairs >= np.asarray(shape)).any(axis=1)
    if beyond.any():
        first = int(beyond.argmax())
        error = DataError(
            f"names row {pairs[first, 0]} and label {pairs[first, 1]}: of {shape[0]} rows, {shape[1]} labels",
            wanted="rows and labels of this split, counted from 0",
            next_step="check that the file belongs to this split and to this version of the data",
            where=line_of(path, int(lines[first])),
        )
        findings.error("range", path, error, count=int(beyond.sum()))
        pairs = pairs[~beyond]
    return np.ascontiguousarray(pairs)
