"""JSON lines of the label-feature data sets: trn.json, tst.json, lbl.json; keys `title`, `content`, `target_ind`.

A text is the title and the content, joined by a space and with runs of white space replaced by one space. The text
of label i is the title in line i + 1 of lbl.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.jsonl import items, objects, string
from megalabel.data.formats.output import drop_unseen, line_writer, write_filters
from megalabel.data.records import Record, data_from_records, no_readable_line, surrogate_error
from megalabel.data.text_lines import empty_file, find_file
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads trn.json, lbl.json and, if it exists, tst.json; each plain or .gz."""
    file = find_file(source.folder, "lbl.json")
    if file is None:
        raise DataError(
            f"{source.train.name} exists, but lbl.json does not",
            wanted="lbl.json (or lbl.json.gz) with the titles of the labels, in the order of their ids",
            where=source.folder,
        )
    vocabulary = Vocabulary(_titles(file, findings), file, findings)
    return data_from_records(source, _records, vocabulary, findings)


def _titles(file: Path, findings: Findings) -> Texts:
    titles = TextsBuilder()
    for line, value in objects(file, findings, ("title",)):
        where = line_of(file, line)
        try:
            titles.add_valid(normalize_space(string(value["title"], "title", where)))
        except DataError as error:
            findings.error("type", file, error)
        except UnicodeEncodeError as error:
            findings.error("surrogate", file, surrogate_error(error, where))
    if not len(titles):
        raise no_readable_line(file) if findings.has_error(file) else empty_file(file)
    return titles.done()


def _records(path: Path, findings: Findings) -> Iterator[Record]:
    for line, value in objects(path, findings, ("title", "target_ind")):
        where = line_of(path, line)
        try:
            title = string(value["title"], "title", where)
            content = string(value.get("content") if value.get("content") is not None else "", "content", where)
            labels = items(value["target_ind"], "target_ind", where)
            _check_relevance(value.get("target_rel"), len(labels), where)
        except DataError as error:
            findings.error("type", path, error)
            continue
        names = next((label for label in labels if isinstance(label, str)), None)
        if names is not None:
            problem = DataError(
                f"target_ind holds the text {names[:60]!r}",
                wanted="whole numbers: lines of lbl.json counted from 0",
                next_step="write ids, or use JSON lines with `text` and `labels`",
                where=where,
            )
            findings.error("name", path, problem)
            continue
        yield Record(line, normalize_space(f"{title} {content}"), labels)


def _check_relevance(values: Any, n: int, where: str) -> None:
    """Raises DataError if `target_rel` exists and is not 1 for every label: labels have no weights."""
    if values is None or (isinstance(values, list) and len(values) == n and all(v == 1 for v in values)):
        return
    raise DataError(
        f"target_rel is {str(values)[:60]}",
        wanted=f"the value 1 for each of the {n} labels",
        next_step="leave out labels with the value 0, and target_rel if its weights can be dropped",
        where=where,
    )


def normalize_space(text: str) -> str:
    """The text with runs of white space replaced by one space, and none at the ends."""
    return " ".join(text.split())


def write(data: CorpusData, sink: Sink) -> None:
    """Writes the three files, and notes white space that does not survive reading."""
    drop_unseen(data, sink, "label-feature JSON, whose labels are ids,")
    changed = sum(name != normalize_space(name) for name in data.label_texts)
    with line_writer(sink, "lbl.json") as put:
        for i, name in enumerate(data.label_texts):
            put(json.dumps({"uid": str(i), "title": name}, ensure_ascii=False))
    for side, split in (("trn", data.train), ("tst", data.test)):
        if split is None:
            continue
        starts = split.labels.indptr.tolist()
        with line_writer(sink, f"{side}.json") as put:
            for row, text in enumerate(split.texts):
                changed += text != normalize_space(text)
                labels = split.labels.indices[starts[row] : starts[row + 1]].tolist()
                rest = {"content": "", "target_ind": labels, "target_rel": [1.0] * len(labels)}
                put(json.dumps({"uid": str(row), "title": text, **rest}, ensure_ascii=False))
    if changed:
        sink.notes.append(
            f"{changed:,} texts or names hold white space that readers of lf-json replace by one space"
        )
    write_filters(data, sink)
