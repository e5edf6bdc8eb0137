"""Label metadata from dictionaries: what is known of each label, by its name, URI or id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from megalabel.data.label_lookup import labels_named
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.label_terms import URI, Term, Terms, terms_of
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.texts import Texts
from megalabel.errors import DataError, of_type

KEYS = ("uri", "notation", "names", "alternative_names", "other_uris", "parents")
WANTED = {
    "uri": "a string",
    "notation": "a string",
    "names": 'names by language, such as {"fi": "kissa"}',
    "alternative_names": 'lists of names by language, such as {"en": ["house cat"]}, or a list',
    "other_uris": "a list of URIs",
    "parents": "a list of labels: names, URIs or ids",
}


def metadata_of(
    names: Sequence[str], records: Mapping[Any, Mapping[str, Any]], known: LabelMetadata | None = None
) -> LabelMetadata:
    """The metadata of L labels from records by label.

    Args:
        names: the names of the L labels.
        records: by the name, the URI or the id of a label, a dictionary with some of `KEYS`; see `WANTED`.
        known: metadata by which labels are found, too.

    Raises:
        DataError: no label has the name, several have it, or a record has other keys or values.
        SettingError: an alternative name of several labels.
    """
    if not isinstance(records, Mapping):
        raise DataError(of_type(records), wanted="records by label", where="metadata")
    for label, record in records.items():
        check_record(record, f"metadata of {label!r:.60}")
    listed = [Listed(label, f"metadata of {label!r:.60}", record) for label, record in records.items()]
    return metadata_from(names, listed, known)


class Listed(NamedTuple):
    """What is said of one label.

    label: its name, its URI or its id.
    where: the place of the record, for messages.
    record: the record, which `check_record` has checked.
    """

    label: Any
    where: str
    record: Mapping[str, Any]


def metadata_from(
    names: Sequence[str],
    listed: Sequence[Listed],
    known: LabelMetadata | None = None,
    unknown: list[Any] | None = None,
) -> LabelMetadata:
    """As `metadata_of`, from a list of records.

    unknown: receives labels that do not exist; None where such a label is an error.
    """
    find = _finder(names, listed, known, unknown)
    records: dict[int, Mapping[str, Any]] = {}
    pairs: list[tuple[int, int]] = []
    for label, where, record in listed:
        i = find(label, where)
        if i in records:
            raise DataError(
                f"a second record of the label {label!r:.80}", wanted="one for each label", where=where
            )
        if i is None:
            continue
        records[i] = record
        above = [find(parent, where) for parent in record.get("parents", ())]
        pairs += [(parent, i) for parent in above if parent is not None]
    terms: list[Term] = []
    for i, record in records.items():
        others = record.get("alternative_names", {})
        terms += terms_of(i, record.get("names", {}), others if isinstance(others, Mapping) else {"": others})
        terms += [(i, "", URI, uri) for uri in record.get("other_uris", ())]
    uris, notations = (_column(len(names), key, records) for key in ("uri", "notation"))
    _check_uris(uris, names)
    parents, children = np.array(pairs, np.int64).reshape(-1, 2).T
    taxonomy = Taxonomy.of(parents, children, names, "metadata") if pairs else None
    return LabelMetadata(len(names), uris, notations, Terms.of(terms) if terms else None, taxonomy)


def check_record(record: Any, where: str) -> None:
    """DataError unless a record has known keys and fitting values."""
    if not isinstance(record, Mapping):
        raise DataError(of_type(record), wanted="a dictionary for each label", where=where)
    fits: dict[str, Callable[[Any], bool]] = {
        "uri": _is_text,
        "notation": _is_text,
        "names": lambda value: isinstance(value, Mapping) and all(map(_is_text, [*value, *value.values()])),
        "alternative_names": _are_alternatives,
        "other_uris": _are_texts,
        "parents": lambda value: isinstance(value, list | tuple) and all(map(_is_label, value)),
    }
    for key, value in record.items():
        if key not in fits:
            raise DataError(f"the key {key!r:.60}", wanted=f"some of {', '.join(KEYS)}", where=where)
        if not fits[key](value):
            raise DataError(f"{key!r} is {value!r:.80}", wanted=WANTED[key], where=where)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int, np.integer)) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _are_alternatives(value: Any) -> bool:
    return _are_texts(value) or (
        isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(_are_texts, value.values()))
    )


def _finder(
    names: Sequence[str], listed: Sequence[Listed], known: LabelMetadata | None, unknown: list[Any] | None
) -> Callable[[Any, str], int | None]:
    """A function from a label and the place of its record to its id; None for one that becomes `unknown`."""
    by_uri = {record["uri"]: label for label, _, record in listed if record.get("uri")}
    texts = {label for label, _, _ in listed} | {
        parent for one in listed for parent in one.record.get("parents", ())
    }
    found = labels_named(names, known, (text for text in texts if isinstance(text, str)))

    def find(label: Any, where: str) -> int | None:
        if isinstance(label, str) and label not in found:
            label = by_uri.get(label, label)
        if isinstance(label, str) and len(found.get(label, ())) == 1:
            return found[label][0]
        if _is_label(label) and not isinstance(label, str) and 0 <= label < len(names):
            return int(label)
        several = len(found.get(label, ())) if isinstance(label, str) else 0
        if unknown is not None and not several:
            unknown.append(label)
            return None
        raise DataError(
            f"{several} labels are called {label!r:.80}" if several else f"no label is {label!r:.80}",
            wanted=f"the name or the URI of one label, or an id from 0 to {len(names) - 1:,}",
            next_step="give ids for labels of the same name" if several else None,
            where=where,
        )

    return find


def _column(n: int, key: str, records: Mapping[int, Mapping[str, Any]]) -> Texts | None:
    """The values under a key, "" for none, for each of n labels; None where there are none."""
    if not any(record.get(key) for record in records.values()):
        return None
    return Texts.from_strings(records[i].get(key, "") if i in records else "" for i in range(n))


def _check_uris(uris: Texts | None, names: Sequence[str]) -> None:
    """DataError for a URI that two labels have."""
    first: dict[str, int] = {}
    for i, uri in enumerate(uris or ()):
        if uri and first.setdefault(uri, i) != i:
            raise DataError(
                f"the URI {uri!r:.80} of two labels, {names[first[uri]]!r:.60} and {names[i]!r:.60}",
                wanted="a URI for each label of its own",
                where="metadata",
            )
