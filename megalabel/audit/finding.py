"""`LabelFinding`: a label that is probably missing, wrong, a duplicate or a synonym, and what mends it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from megalabel.errors import DataError, SettingError
from megalabel.storage.reading import parse_json

Kind = Literal["wrong", "missing", "duplicate", "synonym"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_TITLES = {
    "wrong": "labels that texts probably should not have",
    "missing": "labels that texts probably should have",
    "duplicate": "labels whose names differ in case, accents or signs alone",
    "synonym": "labels with nearly the same texts or names",
}


@dataclass(frozen=True)
class LabelFinding:
    """What an audit found.

    Attributes:
        kind: "wrong": the text should lose the label; "missing": it should get it; "duplicate" and "synonym": the
            label should become `other`.
        label, label_id: the label.
        confidence: from 0 to 1, by which the findings of a kind are ordered.
        row: the training text; None for findings about labels.
        text: the text, or its beginning.
        other, other_id: the label that stays, of duplicates and synonyms.
        evidence: the values from which the confidence was computed.
    """

    kind: Kind
    label: str
    label_id: int
    confidence: float
    row: int | None = None
    text: str = ""
    other: str | None = None
    other_id: int | None = None
    evidence: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        """The finding as a line of JSON."""
        values = {name: value for name, value in asdict(self).items() if value not in (None, "", {})}
        return json.dumps(values, ensure_ascii=False)


def read_findings(path: str | Path) -> list[LabelFinding]:
    """Reads a file that `megalabel audit` wrote, from which lines may have been removed.

    Raises:
        DataError: there is no such file, or a line is no finding.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # texts may hold other separators of lines
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the findings cannot be read ({error})", wanted="a file that `megalabel audit DATA -o FILE` wrote",
            where=path,
        ) from error  # fmt: skip
    return [_finding(line, i, path) for i, line in enumerate(lines) if line.strip()]


def _finding(line: str, i: int, path: Path) -> LabelFinding:
    try:
        found = LabelFinding(**parse_json(line))
        whole = found.kind in KINDS and type(found.label_id) is int and isinstance(found.label, str)
        whole = whole and type(found.row if found.kind in ("wrong", "missing") else found.other_id) is int
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise DataError(
            f"line {i + 1} is no finding: {line!r:.80}",
            wanted='an object such as {"kind": "wrong", "label": "cat", "label_id": 3, "row": 7}',
            next_step="remove whole lines, and leave the others as `megalabel audit` wrote them",
            where=path,
        )
    return found


def table(findings: Iterable[LabelFinding], kinds: Iterable[str] = KINDS, most: int = 10) -> list[str]:
    """The best findings of each of some kinds as lines of text."""
    findings, lines = list(findings), []
    for kind in check_kinds(kinds):
        own = [finding for finding in findings if finding.kind == kind]
        lines.append(f"{len(own):,} {_TITLES[kind]}" + (":" if own else ""))
        for finding in own[:most]:
            if finding.row is None:
                lines.append(f"  {finding.confidence:.3f}  {finding.label} > {finding.other}")
            else:
                lines.append(
                    f"  {finding.confidence:.3f}  {finding.label:<28.28}  {finding.row:>8,}  {finding.text:.60}"
                )
    return lines


def check_kinds(kinds: Iterable[str]) -> tuple[Kind, ...]:
    """The kinds of findings that are asked for; SettingError for an unknown one."""
    chosen: list[Kind] = []
    for name in kinds:
        known = next((kind for kind in KINDS if kind == name), None)
        if known is None:
            raise SettingError.choice("kinds", name, KINDS)
        chosen.append(known)
    return tuple(chosen)
