"""Looking a data set over before training: counts, coverage, duplicates, and where something is odd."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from megalabel.data.corpus import Corpus, Split
from megalabel.data.findings import Finding, Findings
from megalabel.data.readers import locate
from megalabel.data.texts import Texts
from megalabel.errors import MegalabelError

# How UTF-8 looks after it was read as Windows-1252 and written again: an accented letter, a quotation mark.
_MOJIBAKE = tuple(s.encode() for s in ("Ã©", "Ã¨", "Ã¼", "Ã¶", "Ã¤", "Ã±", "â€™", "â€œ", "â€“", "Â\xa0"))
_CONTROL = bytes([*range(9), 11, 12, *range(14, 32), 127])


@dataclass(frozen=True)
class Report:
    """What `check` saw.

    counts: numbers by a flat name, such as "train.texts"; empty if nothing could be read. findings: errors
    first. name and format: None if not even that is known.
    """

    path: Path
    name: str | None
    format: str | None
    counts: dict[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether training would accept the data."""
        return not any(f.severity == "error" for f in self.findings)

    def lines(self) -> list[str]:
        """The report for people, a line each."""
        head = f"{self.name or self.path} ({self.format or 'format unknown'})"
        rows = [f"  {name:<34} {_shown(value):>14}" for name, value in self.counts.items()]
        n = {s: sum(f.severity == s for f in self.findings) for s in ("error", "warning", "info")}
        verdict = "can be trained on" if self.ok else "cannot be trained on as it is"
        tail = f"{verdict}: {n['error']} kinds of error, {n['warning']} of warning, {n['info']} of information"
        return [head, *rows, *(f"  {finding}" for finding in self.findings), tail]


def check(path: str | Path) -> Report:
    """Reads a whole data set and reports on it; trouble becomes findings, never an exception.

    An error of one line is kept and reading goes on, so that one run shows as many as can be seen; an error
    of a whole file (missing, truncated, of another length) ends the reading.
    """
    path, findings = Path(path), Findings(collect=True)
    name = format = None
    counts: dict[str, float] = {}
    try:
        source, chosen = locate(path)
        name, format = source.name, chosen.name
        corpus = chosen.read(source, findings)
        counts = _counts(corpus, findings)
    except MegalabelError as error:
        findings.fatal(error)
    return Report(path, name, format, counts, tuple(findings.all()))


def _counts(corpus: Corpus, findings: Findings) -> dict[str, float]:
    counts: dict[str, float] = {"labels": corpus.n_labels}
    hashes = {}
    for side, split in (("train", corpus.train), ("test", corpus.test)):
        if split is not None:
            counts |= {f"{side}.{key}": value for key, value in _side(split).items()}
            if split.features is None:
                hashes[side] = _hashes(split.texts)
                counts[f"{side}.duplicate texts"] = _duplicates(side, hashes[side], findings)
                _look_through(side, split.texts, findings)
            _filter_conflicts(side, split, findings)
    if len(hashes) == 2:
        counts["test.texts also in train"] = _shared(hashes["train"], hashes["test"], findings)
    return counts | _coverage(corpus, findings)


def _side(split: Split) -> dict[str, float]:
    per_text = split.n_true()
    counts: dict[str, float] = {
        "texts": len(split),
        "pairs": split.labels.nnz,
        "labels per text, mean": float(per_text.mean()),
        "labels per text, median": float(np.median(per_text)),
        "labels per text, most": int(per_text.max()),
        "texts without a label": int((per_text == 0).sum()),
    }
    if split.features is not None:
        counts["features"] = split.features.shape[1]
        counts["features per text, mean"] = split.features.nnz / len(split)
    else:
        counts["bytes per text, mean"] = float(split.texts.lengths.mean())
        counts["bytes per text, most"] = int(split.texts.lengths.max())
        counts["blank texts"] = sum(not text.strip() for text in split.texts.raw())
    if split.unseen is not None:
        counts["pairs with a label without column"] = len(split.unseen)
    if split.filter is not None:
        counts["filter pairs"] = len(split.filter)
    return counts


def _coverage(corpus: Corpus, findings: Findings) -> dict[str, float]:
    per_label = np.bincount(corpus.train.labels.indices, minlength=corpus.n_labels)
    counts: dict[str, float] = {
        "train texts per label, mean": float(per_label.mean()),
        "train texts per label, median": float(np.median(per_label)),
        "train texts per label, most": int(per_label.max()),
        "labels with 1 train text": int((per_label == 1).sum()),
        "labels with at most 5": int(((per_label >= 1) & (per_label <= 5)).sum()),
        "labels without a train text": int((per_label == 0).sum()),
    }
    if counts["labels without a train text"]:
        first = int((per_label == 0).argmax())
        findings.note(
            "no-train",
            None,
            f"label {first} ({corpus.label_texts[first]!r}) has no training text",
            count=int(counts["labels without a train text"]),
            severity="info",
        )
    if corpus.test is not None:
        in_test = np.bincount(corpus.test.labels.indices, minlength=corpus.n_labels)
        counts["labels in test"] = int((in_test > 0).sum())
        counts["labels in test, not in train"] = int(((in_test > 0) & (per_label == 0)).sum())
    return counts


def _hashes(texts: Texts) -> np.ndarray:
    """64 bits for each text, equal for equal texts within this process."""
    return np.fromiter((hash(text) for text in texts.raw()), dtype=np.int64, count=len(texts))


def _duplicates(side: str, hashes: np.ndarray, findings: Findings) -> int:
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(np.diff(hashes[order]) == 0)
    if len(again):
        at = again[np.argmin(order[again + 1])]
        message = f"{side} rows {order[at]} and {order[at + 1]} (from 0) hold the same text"
        findings.note("duplicates", side, message, count=len(again), severity="info")
    return len(again)


def _shared(train: np.ndarray, test: np.ndarray, findings: Findings) -> int:
    shared = np.isin(test, train)
    if shared.any():
        row = int(shared.argmax())
        twin = int((train == test[row]).argmax())
        findings.note(
            "shared",
            None,
            f"test row {row} has the text of train row {twin} (from 0): scores on it measure memory",
            count=int(shared.sum()),
        )
    return int(shared.sum())


def _look_through(side: str, texts: Texts, findings: Findings) -> None:
    """Encoding trouble that is valid UTF-8 all the same."""
    replacement = "\ufffd".encode()
    for row, text in enumerate(texts.raw()):
        where = f"{side} row {row} (from 0)"
        if text.isascii():
            pass
        elif replacement in text:
            message = f"{where} holds U+FFFD: characters were lost when it was made"
            findings.note("replacement", side, message)
        elif any(sign in text for sign in _MOJIBAKE):
            findings.note("mojibake", side, f"{where} looks like UTF-8 read as Windows-1252")
        if len(text.translate(None, _CONTROL)) != len(text):
            findings.note("control", side, f"{where} holds control characters")


def _filter_conflicts(side: str, split: Split, findings: Findings) -> None:
    """Filter pairs that are true pairs: what is right would never be predicted."""
    if split.filter is None or len(split.filter) == 0:
        return
    true = np.asarray(split.labels[split.filter[:, 0], split.filter[:, 1]]).ravel() != 0
    if true.any():
        row, label = split.filter[true.argmax()].tolist()
        message = f"filter pair ({row}, {label}) is a true pair of {side}: filtering makes it impossible to answer"
        findings.note("filter-true", side, message, count=int(true.sum()))


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
