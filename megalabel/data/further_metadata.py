"""Joins the metadata of labels with those of further labels, which follow them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.label_terms import Terms
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.texts import Texts
from megalabel.errors import SettingError


def extended(
    metadata: LabelMetadata | None, more: LabelMetadata | None, names: Sequence[str]
) -> LabelMetadata | None:
    """What is known of labels and of further ones that follow them.

    Args:
        metadata: of the first labels, of which there may be fewer than names.
        more: of the further labels, numbered as all labels are.
        names: the names of all labels.
    """
    if metadata is None:
        return more
    n, first = len(names), len(metadata)
    if more is None:
        more = LabelMetadata(n)
    elif len(more) != n:
        raise SettingError(f"metadata of {len(more):,} labels", wanted=f"of {n:,}", where="metadata")
    return LabelMetadata(
        n,
        _joined(metadata.uris, more.uris, first, n),
        _joined(metadata.notations, more.notations, first, n),
        _joined_terms(metadata.terms, more.terms),
        _joined_taxonomy(metadata.taxonomy, more.taxonomy, names),
    )


def _joined(ours: Texts | None, theirs: Texts | None, first: int, n: int) -> Texts | None:
    if ours is None and theirs is None:
        return None
    ours, theirs = Texts.blank(first) if ours is None else ours, Texts.blank(n) if theirs is None else theirs
    return Texts.from_strings([*ours, *theirs[first:]])


def _joined_terms(ours: Terms | None, theirs: Terms | None) -> Terms | None:
    return ours if theirs is None else theirs if ours is None else ours.joined(theirs)


def _joined_taxonomy(ours: Taxonomy | None, theirs: Taxonomy | None, names: Sequence[str]) -> Taxonomy | None:
    if ours is None and theirs is None:
        return None
    parents, children = (
        np.concatenate(part)
        for part in zip(*(taxonomy.pairs() for taxonomy in (ours, theirs) if taxonomy is not None), strict=True)
    )
    return Taxonomy.of(parents, children, names)
