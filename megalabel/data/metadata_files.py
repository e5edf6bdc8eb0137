"""Label metadata in files: label_metadata.jsonl and taxonomy.tsv beside the data, or files that are named.

A line of label_metadata.jsonl is a JSON object with the `label`, its name or URI, or its `id`, and some of the
keys of `metadata_records`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink
from megalabel.data.formats.output import line_writer
from megalabel.data.formats.skos import SUFFIXES
from megalabel.data.formats.subjects import read_vocabulary
from megalabel.data.json_values import json_values
from megalabel.data.label_lookup import some
from megalabel.data.label_metadata import RECORDS, TAXONOMY, LabelMetadata
from megalabel.data.metadata_records import Listed, check_record, metadata_from
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.taxonomy_file import read_taxonomy
from megalabel.data.text_lines import find_file
from megalabel.data.types import CorpusData
from megalabel.errors import DataError, MegalabelError, line_of

_SKOS = tuple(f".{suffix}" for suffix in SUFFIXES)


def with_files_beside(data: CorpusData, folder: Path, findings: Findings) -> CorpusData:
    """The data with the metadata of the files beside them, which replace those of a vocabulary.

    Labels that the data lack, such as those of a file of test texts that is read alone, are left out and noted.

    Raises:
        DataError: a file is damaged, or has a cycle of broader labels.
    """
    records, pairs = find_file(folder, RECORDS), find_file(folder, TAXONOMY)
    if records is None and pairs is None:
        return data
    metadata, names = data.metadata, data.label_texts
    if records is not None:
        metadata = read_records(records, names, metadata, findings, beside=True)
    if pairs is not None:
        known = metadata or LabelMetadata(data.n_labels)
        metadata = replace(known, taxonomy=read_taxonomy(pairs, names, known, findings, beside=True))
    return replace(data, metadata=metadata or None, findings=tuple(findings.all()))


def metadata_in(
    file: Path, names: Sequence[str], known: LabelMetadata | None, findings: Findings
) -> LabelMetadata:
    """The metadata of labels in a file of records (.jsonl), or in a vocabulary of Annif or SKOS.

    A concept of a vocabulary is a label that has its URI or, by name, the only one of that name. Concepts that are
    no labels are left out; their broader concepts become those of the narrower ones.

    Raises:
        DataError: there is no such file, it is damaged, or it names no label.
    """
    suffixes = (".jsonl", ".ndjson", ".tsv", ".csv", *_SKOS)
    plain = _checked(file, f"a file of label metadata or a vocabulary: {', '.join(suffixes)}")
    if plain.endswith(suffixes[:2]):
        return read_records(file, names, known, findings)
    if not plain.endswith(suffixes):
        raise DataError(f"the suffix {file.suffix!r}", wanted=f"one of {', '.join(suffixes)}", where=file)
    listed, concepts = read_vocabulary(file, findings)
    target = _targets(listed, concepts, names, known)
    if (target < 0).all():
        raise DataError(
            f"no concept ({some(listed)}) is one of the labels ({some(names)})",
            wanted="a vocabulary with the names or the URIs of the labels",
            where=file,
        )
    return concepts.placed(target, names)


def taxonomy_in(
    file: Path, names: Sequence[str], known: LabelMetadata | None, findings: Findings
) -> Taxonomy | None:
    """The taxonomy of labels in a file of pairs or in a SKOS vocabulary; None where there are no pairs.

    Raises:
        DataError: as `read_taxonomy` and `metadata_in`.
    """
    if _checked(file, "a file of pairs (parent, tab, child), or a SKOS vocabulary").endswith(_SKOS):
        return metadata_in(file, names, known, findings).taxonomy
    return read_taxonomy(file, names, known, findings)


def read_records(
    file: Path, names: Sequence[str], known: LabelMetadata | None, findings: Findings, *, beside: bool = False
) -> LabelMetadata:
    """The metadata in a file of records.

    Args:
        file: the file.
        names, known: the names of the labels, and metadata by which they are found, too.
        findings: learns of labels that are left out.
        beside: whether the file only lies beside the data, which may lack its labels.

    Raises:
        DataError: an unknown key or value, or, unless `beside`, an unknown label.
    """
    records = []
    for number, value in json_values(file, findings):
        where = line_of(file, number)
        if not isinstance(value, dict) or not ("label" in value or "id" in value):
            raise DataError(
                f"{str(value)[:80]}",
                wanted='an object with the name of a label under "label", or its "id"',
                where=where,
            )
        rest = {key: kept for key, kept in value.items() if key not in ("label", "id")}
        check_record(rest, where)
        records.append(Listed(_label(value, names, where, beside), where, rest))
    if not records and not beside:
        raise DataError("no record", wanted="a JSON object per label", next_step="check the path", where=file)
    unknown: list[Any] | None = [] if beside else None
    try:
        found = metadata_from(names, records, known, unknown)
    except MegalabelError as error:
        where = str(file) if error.where in (None, "labels", "metadata") else str(error.where)
        raise DataError(error.found, wanted=error.wanted, next_step=error.next_step, where=where) from error
    if unknown:
        message = f"{unknown[0]!r:.80} is no label of the data, and is left out"
        findings.note("metadata-labels", file, message, count=len(unknown), notable=True)
    return found


def write_records(data: CorpusData, sink: Sink) -> None:
    """Writes label_metadata.jsonl: a line for each label of which something is known."""
    metadata = data.metadata
    if metadata is None or not metadata:
        return
    names = list(data.label_texts)
    times = Counter(names)
    with line_writer(sink, RECORDS) as put:
        for i, name in enumerate(names):
            known = metadata[i]
            if "parents" in known:  # by name, where only one label has it
                known["parents"] = [names[at] if times[names[at]] == 1 else at for at in known["parents"]]
            if known:
                put(json.dumps({"id": i, "label": name, **known}, ensure_ascii=False))


def _checked(file: Path, wanted: str) -> str:
    """The name of a file in lower case without .gz; DataError where there is no such file."""
    if not file.is_file():
        found = "a folder" if file.is_dir() else "no such file"
        raise DataError(found, wanted=wanted, next_step="correct the path", where=file)
    return file.name.lower().removesuffix(".gz")


def _label(value: dict[str, Any], names: Sequence[str], where: str, beside: bool) -> Any:
    """What stands for the label of a record: its id where that fits the name, or else the name."""
    label, at = value.get("label"), value.get("id")
    if label is None:
        return at
    fits = type(at) is int and 0 <= at < len(names) and names[at] == label
    if at is None or fits or beside:  # beside a file with other labels, ids are other ones
        return at if fits else label
    raise DataError(
        f"the id {at!r:.40} of {label!r:.60}",
        wanted="the id and the name of the same label, or one of the two",
        where=where,
    )


def _targets(
    listed: Sequence[str], concepts: LabelMetadata, names: Sequence[str], known: LabelMetadata | None
) -> np.ndarray:
    """For each concept of a vocabulary the label that it is, by URI or by name; −1 for none."""
    target = np.full(len(listed), -1, np.int64)
    by_uri = {uri: i for i, uri in enumerate((known.uris if known else None) or ()) if uri}
    for at, uri in enumerate(concepts.uris or ()):
        target[at] = by_uri.get(uri, -1)
    taken, wanted = set(target[target >= 0].tolist()), set(names)
    by_name: dict[str, list[int]] = {}
    for at, name in enumerate(listed):
        if name in wanted:
            by_name.setdefault(name, []).append(at)
    by_name = concepts.called(wanted - by_name.keys()) | by_name
    for i, name in enumerate(names):
        own = by_name.get(name, [])
        if i not in taken and len(own) == 1 and target[own[0]] < 0:
            target[own[0]] = i
    return target
