"""Labels by their names or, where no label has the name, by a URI, a notation or an alternative name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.texts import Texts
from megalabel.errors import SettingError

SHOWN = 5  # labels that a message lists


def labels_named(
    names: Sequence[str], metadata: LabelMetadata | None, wanted: Iterable[str], where: str = "labels"
) -> dict[str, list[int]]:
    """The ids of the labels that some texts stand for; a text that stands for no label is left out.

    Several labels may have a name. A text that is no name is looked up among URIs, then among notations, names in
    other languages and alternative names.

    Raises:
        SettingError: an alternative name of several labels.
    """
    texts = set(wanted)
    found = {text: at.tolist() for text, at in Texts.from_strings(names).positions(texts).items()} if texts else {}
    rest = texts - found.keys()
    if metadata is None or not rest:
        return found
    more = metadata.called(rest)
    for text, labels in more.items():
        if len(labels) > 1:
            listed = ", ".join(f"{names[i]!r:.60} (id {i})" for i in labels[:SHOWN])
            raise SettingError(
                f"{text!r:.80}, which stands for {len(labels)} labels: {listed}",
                wanted="one label",
                next_step="give the name, the URI or the id of one of them",
                where=where,
            )
    return found | more


def some(names: Sequence[str], n: int = 3) -> str:
    """The first of some names, for a message."""
    return ", ".join(f"{name!r:.60}" for name in names[:n]) + (", …" if len(names) > n else "")
