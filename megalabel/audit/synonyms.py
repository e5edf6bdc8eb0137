"""Finds labels that mean the same: by names that are written alike, and by texts that are alike."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from megalabel.audit.evidence import Known, label_vectors
from megalabel.audit.finding import Kind, LabelFinding
from megalabel.audit.pairs import values_at
from megalabel.data.texts import Texts
from megalabel.inputs.words import fold
from megalabel.kernels.sparse.nearest_rows import InvertedIndex
from megalabel.kernels.sparse.sparse_rows import keep_largest

_SIGNS = re.compile(r"[\W_]+")
LIKE = 0.7  # the least cosine of the documents of two labels
KEPT, NEAREST = 32, 4  # features of a document that are compared, and labels that are looked at
FEWEST = 3  # texts of each label
TOGETHER = 0.3  # share of the rarer label's texts that may have the other label too


def label_findings(names: Texts, known: Known, kinds: Sequence[Kind], most: int) -> list[LabelFinding]:
    """Duplicates and synonyms, those with the highest confidence first.

    Of two labels the one with more texts stays. Duplicates have the same name but for case, accents, blanks and
    signs. Synonyms have texts whose words are alike, but are rarely given together: who labels a text takes one or
    the other.
    """
    found: list[LabelFinding] = []
    if "duplicate" in kinds:
        found += sorted(_duplicates(names, known.counts), key=lambda finding: -finding.confidence)[:most]
    if "synonym" in kinds:
        found += sorted(_synonyms(names, known), key=lambda finding: -finding.confidence)[:most]
    return found


def _duplicates(names: Texts, counts: np.ndarray) -> Iterator[LabelFinding]:
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        key = _SIGNS.sub("", fold(name))
        if key:
            groups.setdefault(key, []).append(i)
    for group in groups.values():
        stays = max(group, key=lambda i: (counts[i], -i))
        for i in group:
            if i != stays:
                same = names[i] == names[stays]
                yield LabelFinding(
                    "duplicate", names[i], i, 1.0 if same else 0.9, other=names[stays], other_id=stays,
                    evidence={"texts": float(counts[i]), "texts of the other": float(counts[stays])},
                )  # fmt: skip


def _synonyms(names: Texts, known: Known) -> Iterator[LabelFinding]:
    vectors = keep_largest(label_vectors(known), KEPT)
    enough = np.flatnonzero(known.counts >= FEWEST)
    if len(enough) < 2:
        return
    vectors = vectors[enough]
    near, similar = InvertedIndex.of_rows(vectors).nearest(vectors, NEAREST, exclude=np.arange(len(enough)))
    first = np.repeat(enough, near.shape[1]).reshape(near.shape)
    there = (near >= 0) & (similar >= LIKE)
    a, b, cosine = first[there], enough[near[there]], similar[there]
    ahead = (known.counts[a] < known.counts[b]) | ((known.counts[a] == known.counts[b]) & (a > b))
    a, b, cosine = a[ahead], b[ahead], cosine[ahead]
    together = np.maximum(values_at(known.both, a, b), values_at(known.both, b, a)) / known.counts[a]
    for i, j, value, share in zip(a.tolist(), b.tolist(), cosine.tolist(), together.tolist(), strict=True):
        if share <= TOGETHER:
            yield LabelFinding(
                "synonym", names[i], i, round(float(value) * (1 - float(share)), 6), other=names[j], other_id=j,
                evidence={
                    "texts alike": round(float(value), 4), "given together": round(float(share), 4),
                    "texts": float(known.counts[i]), "texts of the other": float(known.counts[j]),
                },
            )  # fmt: skip
