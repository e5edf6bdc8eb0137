"""JSON lines of the label-feature data sets: trn.json, tst.json; keys `title`, `content`, `target_ind`.

The text of label i is the title in line i + 1 of lbl.json, else line i + 1 of Yf.txt or Y.txt, else the id. All
files may also be called as in the archives of the repository: trn.raw.json.gz.

`TitleAndContent` says what of a title and a content is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Found, Sink, Source
from megalabel.data.formats.jsonl import items, objects, string
from megalabel.data.formats.output import drop_unseen, line_writer, write_filters
from megalabel.data.formats.title_content import TitleAndContent, normalize_space
from megalabel.data.records import Record, data_from_records, no_readable_line, surrogate_error
from megalabel.data.text_lines import empty_file, find_file, read_text_lines
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of


def find(folder: Path) -> Found | None:
    """The data set in a folder, or None."""
    train = find_file(folder, "trn.json", "trn.raw.json")
    return None if train is None else Found(folder, train, find_file(folder, "tst.json", "tst.raw.json"))


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the training texts and, if they exist, the label texts and the test texts; each plain or .gz."""
    choice = TitleAndContent(source.name, source.parts, source.separator)

    def records(path: Path, found: Findings) -> Iterator[Record]:
        return _records(path, choice, found)

    data = data_from_records(source, records, _vocabulary(source.folder, findings), findings)
    choice.note(source.train, findings)
    return data


def _vocabulary(folder: Path, findings: Findings) -> Vocabulary:
    file = find_file(folder, "lbl.json", "lbl.raw.json")
    if file is not None:
        return Vocabulary(_titles(file, findings), file, findings)
    file = find_file(folder, "Yf.txt", "Y.txt")
    return Vocabulary(None if file is None else read_text_lines(file, findings), file, findings)


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


def _records(path: Path, choice: TitleAndContent, findings: Findings) -> Iterator[Record]:
    for line, value in objects(path, findings, ("target_ind",)):
        where = line_of(path, line)
        try:
            text = choice.text(value, where)
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
        yield Record(line, text, labels)


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
