"""Checks a data set before training: counts, coverage, duplicates and irregularities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from megalabel.data.catalog import check_constants, known_name, propensity_source, published_labels
from megalabel.data.findings import Finding, Findings
from megalabel.data.opening import locate, read_located
from megalabel.data.read_options import ReadOptions
from megalabel.data.row_weights import value_counts
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split
from megalabel.errors import MegalabelError, SettingError
from megalabel.storage.paths import as_path

# How UTF-8 looks after it was read as Windows-1252 and written again: an accented letter, a quotation mark.
_MOJIBAKE = tuple(s.encode() for s in ("Ã©", "Ã¨", "Ã¼", "Ã¶", "Ã¤", "Ã±", "â€™", "â€œ", "â€“", "Â\xa0"))
Probe = Callable[[CorpusData, Findings], Mapping[str, float]]
_CONTROL = bytes([*range(9), 11, 12, *range(14, 32), 127])


@dataclass(frozen=True)
class Report:
    """The result of `check`.

    Attributes:
        path: the folder or file that was checked.
        name: the name of the data set, or None if it could not be located.
        format: its format, or None if it could not be located.
        counts: numbers by name, such as "train.texts"; empty if nothing could be read.
        findings: the irregularities that were found, errors first.
        propensities: the propensity constants and where they are from; "" if nothing could be read.
    """

    path: Path
    name: str | None
    format: str | None
    counts: dict[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    propensities: str = ""

    @property
    def ok(self) -> bool:
        """Whether the data can be trained on."""
        return not any(f.severity == "error" for f in self.findings)

    def lines(self) -> list[str]:
        """The report as lines of text."""
        head = f"{self.name or self.path} ({self.format or 'format unknown'})"
        rows = [f"  {name:<34} {_shown(value):>14}" for name, value in self.counts.items()]
        n = {s: sum(f.severity == s for f in self.findings) for s in ("error", "warning", "info")}
        verdict = "can be trained on" if self.ok else "cannot be trained on as it is"
        tail = f"{verdict}: kinds of errors {n['error']}, of warnings {n['warning']}, of notes {n['info']}"
        rows += [f"  {self.propensities}"] if self.propensities else []
        return [head, *rows, *(f"  {finding}" for finding in self.findings), tail]


def check(
    path: str | Path,
    options: ReadOptions | None = None,
    probes: Sequence[Probe] = (),
    *,
    name: str | None = None,
    propensity: Sequence[float] | None = None,
) -> Report:
    """Reads a whole data set and reports on it; errors in the data become findings and are not raised.

    After an error in one line reading continues, so that a single run reports as many errors as possible. An error
    in a whole file (missing, truncated, or of another length) ends the reading.

    Args:
        path: a folder or file.
        options: how to read it.
        probes: further looks at the data set, such as the share of tokens that a tokenizer does not know. Each
            adds notes to the findings and returns counts by name.
        name, propensity: as in `Corpus.open`.

    Raises:
        SettingError: `path` is not a path, or another argument has an invalid value.
    """
    path, findings = as_path(path, "data"), Findings(collect=True, options=options)
    constants = None if propensity is None else check_constants(propensity)
    shown_name = shown_format = None
    counts: dict[str, float] = {}
    try:
        source, chosen = locate(path, name=name, format=findings.options.format, findings=findings)
        shown_name, shown_format = source.name, chosen.name
        data = read_located(source, chosen, findings)
        counts = _counts(data, findings)
        for probe in probes:
            counts |= probe(data, findings)
    except SettingError:  # an argument, not the data
        raise
    except MegalabelError as error:
        findings.fatal(error)
    propensities = propensity_source(shown_name or path.name, constants) if counts else ""
    return Report(path, shown_name, shown_format, counts, tuple(findings.all()), propensities)


def _counts(data: CorpusData, findings: Findings) -> dict[str, float]:
    counts: dict[str, float] = {"labels": data.n_labels}
    hashes = {}
    for side, split in (("train", data.train), ("test", data.test)):
        if split is not None:
            counts |= {f"{side}.{key}": value for key, value in _split_counts(split).items()}
            if split.features is None:
                hashes[side] = _hashes(split.texts)
                counts[f"{side}.duplicate texts"] = _duplicates(side, hashes[side], findings)
                _note_encoding_errors(side, split.texts, findings)
            _filter_conflicts(side, split, findings)
    if len(hashes) == 2:
        counts["test.texts also in train"] = _shared(hashes["train"], hashes["test"], findings)
    _compare_with_catalog(data, findings)
    counts |= {} if data.metadata is None else data.metadata.counts()
    return counts | _coverage(data, findings)


def _compare_with_catalog(data: CorpusData, findings: Findings) -> None:
    """Notes a number of labels that is not the published one of the data set of this name."""
    published = published_labels(data.name)
    if published is not None and published != data.n_labels:
        message = (
            f"{data.n_labels:,} labels, but {known_name(data.name)} is published with {published:,}; the files "
            "are incomplete or another version, or the name is another data set's (--name NAME)"
        )
        findings.note("published", data.path, message)


def _split_counts(split: Split) -> dict[str, float]:
    per_text = split.n_true()
    counts: dict[str, float] = {
        "texts": len(split),
        "pairs": split.labels.nnz,
        "labels per text, mean": float(per_text.mean()),
        "labels per text, median": float(np.median(per_text)),
        "labels per text, most": int(per_text.max()),
        "texts without labels": int((per_text == 0).sum()),
    }
    if split.features is not None:
        counts["features"] = split.features.shape[1]
        counts["features per text, mean"] = split.features.nnz / len(split)
    else:
        counts["bytes per text, mean"] = float(split.texts.lengths.mean())
        counts["bytes per text, most"] = int(split.texts.lengths.max())
        counts["blank texts"] = sum(not text.strip() for text in split.texts.raw())
    if split.unseen is not None:
        counts["pairs whose label has no column"] = len(split.unseen)
    if split.filter is not None:
        counts["filter pairs"] = len(split.filter)
    return counts | value_counts(split)


def _coverage(data: CorpusData, findings: Findings) -> dict[str, float]:
    per_label = np.bincount(data.train.labels.indices, minlength=data.n_labels)
    counts: dict[str, float] = {
        "train texts per label, mean": float(per_label.mean()),
        "train texts per label, median": float(np.median(per_label)),
        "train texts per label, most": int(per_label.max()),
        "labels with 1 train text": int((per_label == 1).sum()),
        "labels with at most 5": int(((per_label >= 1) & (per_label <= 5)).sum()),
        "labels without train texts": int((per_label == 0).sum()),
    }
    if counts["labels without train texts"]:
        first = int((per_label == 0).argmax())
        findings.note(
            "no-train",
            None,
            f"label {first} ({data.label_texts[first]!r}) has no training text",
            count=int(counts["labels without train texts"]),
            severity="info",
        )
    if data.test is not None:
        in_test = np.bincount(data.test.labels.indices, minlength=data.n_labels)
        counts["labels in test"] = int((in_test > 0).sum())
        counts["labels in test, not in train"] = int(((in_test > 0) & (per_label == 0)).sum())
    return counts


def _hashes(texts: Texts) -> np.ndarray:
    """A 64-bit hash of each text, equal for equal texts within this process."""
    return np.fromiter((hash(text) for text in texts.raw()), dtype=np.int64, count=len(texts))


def _duplicates(side: str, hashes: np.ndarray, findings: Findings) -> int:
    order = np.argsort(hashes, kind="stable")
    repeated = np.flatnonzero(np.diff(hashes[order]) == 0)
    if len(repeated):
        at = repeated[np.argmin(order[repeated + 1])]
        message = f"{side} rows {order[at]} and {order[at + 1]} (counted from 0) have the same text"
        findings.note("duplicates", side, message, count=len(repeated), severity="info")
    return len(repeated)


def _shared(train: np.ndarray, test: np.ndarray, findings: Findings) -> int:
    shared = np.isin(test, train)
    if shared.any():
        row = int(shared.argmax())
        twin = int((train == test[row]).argmax())
        findings.note(
            "shared",
            None,
            f"test row {row} has the text of train row {twin} (counted from 0); metrics then measure memorization",
            count=int(shared.sum()),
        )
    return int(shared.sum())


def _note_encoding_errors(side: str, texts: Texts, findings: Findings) -> None:
    """Notes encoding errors of an earlier conversion, which leave valid UTF-8."""
    replacement = "\ufffd".encode()
    for row, text in enumerate(texts.raw()):
        where = f"{side} row {row} (counted from 0)"
        if text.isascii():
            pass
        elif replacement in text:
            message = f"{where} holds U+FFFD: characters were lost in an earlier conversion"
            findings.note("replacement", side, message)
        elif any(sign in text for sign in _MOJIBAKE):
            findings.note("mojibake", side, f"{where} looks like UTF-8 read as Windows-1252")
        if len(text.translate(None, _CONTROL)) != len(text):
            findings.note("control", side, f"{where} holds control characters")


def _filter_conflicts(side: str, split: Split, findings: Findings) -> None:
    """Notes filter pairs that are true pairs, which could then never be predicted."""
    if split.filter is None or len(split.filter) == 0:
        return
    true = np.asarray(split.labels[split.filter[:, 0], split.filter[:, 1]]).ravel() != 0
    if true.any():
        row, label = split.filter[true.argmax()].tolist()
        message = (
            f"filter pair ({row}, {label}) is a true pair of {side}, which the filter makes impossible to predict"
        )
        findings.note("filter-true", side, message, count=int(true.sum()))


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
