"""The label-feature sets' JSON lines: trn.json, tst.json and lbl.json with `title`, `content`, `target_ind`.

A text is title and content with a space between them and runs of white space made one space; a label's text
is the title of its line in lbl.json, line i + 1 for id i.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalabel.data.corpus import Corpus
from megalabel.data.findings import Findings
from megalabel.data.formats import Sink, Source
from megalabel.data.formats.jsonl import items, objects, string
from megalabel.data.lines import empty, find
from megalabel.data.records import Record, corpus_of_records, nothing_good, surrogate
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.vocabulary import Vocabulary
from megalabel.data.writing import line_writer, no_unseen, write_filters
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> Corpus:
    """Reads trn.json, lbl.json and, if there, tst.json; each plain or .gz."""
    file = find(source.folder, "lbl.json")
    if file is None:
        raise DataError(
            f"there is {source.train.name}, but no lbl.json",
            wanted="the labels' titles, in the order of their ids",
            next_step="put lbl.json (or lbl.json.gz) beside it",
            where=source.folder,
        )
    vocabulary = Vocabulary(_titles(file, findings), file, findings)
    return corpus_of_records(source, _records, vocabulary, findings)


def _titles(file: Path, findings: Findings) -> Texts:
    titles = TextsBuilder()
    for line, value in objects(file, findings, ("title",)):
        where = line_of(file, line)
        try:
            titles.add_valid(tidy(string(value["title"], "title", where)))
        except DataError as error:
            findings.error("type", file, error)
        except UnicodeEncodeError as error:
            findings.error("surrogate", file, surrogate(error, where))
    if not len(titles):
        raise nothing_good(file) if findings.has_error(file) else empty(file)
    return titles.done()


def _records(path: Path, findings: Findings) -> Iterator[Record]:
    for line, value in objects(path, findings, ("title", "target_ind")):
        where = line_of(path, line)
        try:
            title = string(value["title"], "title", where)
            content = string(value.get("content") if value.get("content") is not None else "", "content", where)
            labels = items(value["target_ind"], "target_ind", where)
            _relevant(value.get("target_rel"), len(labels), where)
        except DataError as error:
            findings.error("type", path, error)
            continue
        names = next((label for label in labels if isinstance(label, str)), None)
        if names is not None:
            problem = DataError(
                f"target_ind holds the text {names[:60]!r}",
                wanted="whole numbers, lines of lbl.json counted from 0",
                next_step="write ids, or use JSON lines with `text` and `labels`",
                where=where,
            )
            findings.error("name", path, problem)
            continue
        yield Record(line, tidy(f"{title} {content}"), labels)


def _relevant(values: Any, n: int, where: str) -> None:
    """`target_rel`, where it is there, says 1 for every label: a text has a label or has it not."""
    if values is None or (isinstance(values, list) and len(values) == n and all(v == 1 for v in values)):
        return
    raise DataError(
        f"target_rel is {str(values)[:60]}",
        wanted=f"the value 1 for each of the {n} labels",
        next_step="leave out labels with the value 0, and target_rel if weights may be lost",
        where=where,
    )


def tidy(text: str) -> str:
    """Runs of white space made one space, none at the ends."""
    return " ".join(text.split())


def write(corpus: Corpus, sink: Sink) -> None:
    """Writes the three files; white space that reading would tidy is noted."""
    no_unseen(corpus, sink, "label-feature JSON, whose labels are ids,")
    untidy = sum(name != tidy(name) for name in corpus.label_texts)
    with line_writer(sink, "lbl.json") as put:
        for i, name in enumerate(corpus.label_texts):
            put(json.dumps({"uid": str(i), "title": name}, ensure_ascii=False))
    for side, split in (("trn", corpus.train), ("tst", corpus.test)):
        if split is None:
            continue
        starts = split.labels.indptr.tolist()
        with line_writer(sink, f"{side}.json") as put:
            for row, text in enumerate(split.texts):
                untidy += text != tidy(text)
                labels = split.labels.indices[starts[row] : starts[row + 1]].tolist()
                rest = {"content": "", "target_ind": labels, "target_rel": [1.0] * len(labels)}
                put(json.dumps({"uid": str(row), "title": text, **rest}, ensure_ascii=False))
    if untidy:
        sink.notes.append(f"{untidy:,} texts or names hold white space that readers of lf-json make one space")
    write_filters(corpus, sink)
