"""Label ids row by row, and the CSR matrix, the filter pairs and the checks that they become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from megalabel.data.findings import Findings
from megalabel.data.lines import blocks, find, uncarriaged
from megalabel.data.numbers import parse_block, parse_line
from megalabel.data.texts import Texts
from megalabel.errors import DataError, line_of

MOST_LABELS = 2**31 - 1


@dataclass(frozen=True)
class LabelRows:
    """The labels of N rows as they stand in a file, not yet checked against the number of labels.

    ids (P,) int64, row after row; counts (N,) int64, how many of each row; lines (N,) int64, the row's
    line in `file`, for messages.
    """

    file: Path
    ids: np.ndarray
    counts: np.ndarray
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def rows(self) -> np.ndarray:
        """The row of each label, (P,) int64."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def keep(self, mask: np.ndarray) -> LabelRows:
        """Only the labels under a mask (P,) bool; all rows stay."""
        counts = np.bincount(self.rows()[mask], minlength=len(self.counts)).astype(np.int64)
        return LabelRows(self.file, self.ids[mask], counts, self.lines)


def read_rows(path: Path, findings: Findings) -> tuple[LabelRows, tuple[bool, bool]]:
    """Every line as a row of labels, a header too; and whether the first line and any other has a colon."""
    ids: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    counts: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    in_first = in_rest = False
    for first, raw in blocks(path, findings):
        block = uncarriaged(path, first, raw, findings)
        cut = 0
        if first == 1:  # a header has another form than the rows: by itself it is clean, in a block it is not
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
    found: list[int] = []
    per_row: list[int] = []
    for number, line in enumerate(block.removesuffix(b"\n").split(b"\n"), first):
        labels, bad = parse_line(line)
        for token in bad:
            error = DataError(
                token.found, wanted=token.wanted, next_step=token.next_step, where=line_of(path, number)
            )
            findings.error(token.kind, path, error)
        found += labels
        per_row.append(len(labels))
    ids.append(np.asarray(found, dtype=np.int64))
    counts.append(np.asarray(per_row, dtype=np.int64))


def label_matrix(rows: LabelRows, n_labels: int, findings: Findings, known_from: str) -> sp.csr_matrix:
    """(N, L) float32 CSR of ones, indices sorted; a label twice in a row counts once and is noted.

    Args:
        known_from: where L comes from, as messages say it: "Y.txt has".

    Raises:
        DataError: an id of L or more.
    """
    beyond = rows.ids >= n_labels
    if beyond.any():
        first = int(beyond.argmax())
        error = DataError(
            f"names label {rows.ids[first]}, but {known_from} {n_labels} labels",
            wanted=f"ids from 0 to {n_labels - 1}",
            next_step="check that both files belong together, and that ids count from 0",
            where=line_of(rows.file, int(rows.lines[rows.rows()[first]])),
        )
        findings.error("range", rows.file, error, count=int(beyond.sum()))
        rows = rows.keep(~beyond)
    n, of_label = len(rows), rows.rows()
    keys = of_label * n_labels + rows.ids
    steps = np.diff(keys)
    if (steps <= 0).any():
        keys = np.sort(keys)
        again = np.flatnonzero(np.diff(keys) == 0)
        if len(again):
            row, label = divmod(int(keys[again[0]]), n_labels)
            findings.note(
                "duplicate",
                rows.file,
                f"label {label} stands twice in the row, read once",
                line=int(rows.lines[row]),
                count=len(again),
            )
            keys = np.delete(keys, again)
    indptr = np.searchsorted(keys, np.arange(n + 1) * n_labels)
    indices = (keys % n_labels).astype(np.int32) if n_labels else np.zeros(0, dtype=np.int32)
    matrix = sp.csr_matrix((np.ones(len(keys), dtype=np.float32), indices, indptr), shape=(n, n_labels))
    matrix.has_sorted_indices = True
    matrix.has_canonical_format = True
    return matrix


def check_count(texts: Texts, texts_file: Path, rows: LabelRows) -> None:
    """DataError unless there is one row of labels for each text."""
    if len(texts) == len(rows):
        return
    spare, other = (texts_file, rows.file) if len(texts) > len(rows) else (rows.file, texts_file)
    last = texts.lengths[-1:] if spare == texts_file else rows.counts[-1:]
    what = "take the blank last line off" if len(last) and last[0] == 0 else "find the surplus line of"
    raise DataError(
        f"{len(texts):,} texts, but {rows.file.name} has {len(rows):,} rows of labels",
        wanted="one row of labels for each text, an empty one where a text has none",
        next_step=f"{what} {spare.name}, or write {other.name} again",
        where=texts_file,
    )


def read_filter(folder: Path, side: str, shape: tuple[int, int], findings: Findings) -> np.ndarray | None:
    """The filter pairs of one side ("trn" or "tst") as (F, 2) int64 (row, label), or None without a file."""
    other = {"trn": "train", "tst": "test"}[side]
    path = find(folder, f"{side}_filter_labels.txt", f"filter_labels_{other}.txt")
    if path is None:
        return None
    rows, _ = read_rows(path, findings)
    blank = np.flatnonzero(rows.counts == 0)
    if len(blank):
        findings.note("blank", path, "blank line, passed over", line=int(blank[0]) + 1, count=len(blank))
    odd = np.flatnonzero((rows.counts != 0) & (rows.counts != 2))
    if len(odd):
        error = DataError(
            f"{rows.counts[odd[0]]} numbers on the line",
            wanted="two, a row and a label",
            next_step="write one pair a line",
            where=line_of(path, int(odd[0]) + 1),
        )
        findings.error("pair", path, error, count=len(odd))
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
            wanted="rows and labels of this side of the data, from 0",
            next_step="check that the file belongs to this side and to this version of the data",
            where=line_of(path, int(lines[first])),
        )
        findings.error("range", path, error, count=int(beyond.sum()))
        pairs = pairs[~beyond]
    return np.ascontiguousarray(pairs)
