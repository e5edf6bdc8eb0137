"""The features of candidates, from the sums that `evidence.py` has collected for a text."""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core._cpu.compiling import helper
from megalabel.kernels.merging.ranked import NO_RANKING, OWN

# The sums of a label; GIVEN takes two. The first five are features as they are.
VOTES, NEAR_VOTES, NEAREST, DOCUMENT, SIDE, GIVEN, PLACE, TOUCHED = 0, 1, 2, 3, 4, 5, 7, 8


@helper
def _describe_further(texts, tables, sums, text, ids, n, features):
    """The features of n candidates that do not belong to a ranking."""
    merged, scores = texts.merged[text], texts.merged_scores[text]
    first = merged[0] if len(merged) > 0 else -1
    second = merged[1] if len(merged) > 1 else -1
    total = np.float32(0)
    for at in range(min(len(merged), 5)):
        total += scores[at] * scores[at] if merged[at] >= 0 else np.float32(0)
    nearest, documented = np.float32(0), np.float32(0)
    for at in range(texts.rows.shape[1]):
        nearest = max(nearest, texts.similarities[text, at])
    for at in range(texts.documents.shape[1]):
        documented = max(documented, texts.document_similarities[text, at])
    for place in range(n):
        label, out = ids[place], features[place]
        for i in range(5):
            out[i] = sums[label, i]
        for i in range(2):
            other = first if i == 0 else second
            p = sums[label, GIVEN + i]
            out[5 + 2 * i] = OWN if other == label else p
            back = p * (tables.counts[max(other, 0)] + 2) / (tables.counts[label] + 2)
            out[6 + 2 * i] = OWN if other == label else back
        out[9] = np.log1p(tables.counts[label])
        out[10] = scores[0] if first >= 0 else np.float32(0)
        out[11] = scores[1] if second >= 0 else np.float32(0)
        out[12] = total
        out[13], out[14] = nearest, documented


@helper
def describe(texts, tables, sums, text, ids, n, features):
    """The features of n candidates."""
    merged, scores = texts.merged[text], texts.merged_scores[text]
    n_rankings = len(texts.ranked)
    for at in range(len(merged)):
        if merged[at] >= 0:
            at_place = np.int64(sums[merged[at], PLACE]) - 1
            features[at_place, 0], features[at_place, 1] = scores[at], 1 / (at + 1)
    for i in range(n_rankings):
        labels, z = texts.ranked[i, text], texts.ranked_scores[i, text]
        lowest = np.float32(np.inf)
        for at in range(len(labels)):
            if labels[at] >= 0:
                lowest = min(lowest, z[at])
        lowest = np.float32(NO_RANKING) if lowest == np.inf else lowest
        for place in range(n):
            features[place, 2 + 2 * i] = lowest - 1
        rank = np.int64(0)
        for at in range(len(labels)):
            if labels[at] >= 0:
                rank += 1
                at_place = np.int64(sums[labels[at], PLACE]) - 1
                if at_place >= 0:
                    features[at_place, 2 + 2 * i], features[at_place, 3 + 2 * i] = z[at], 1 / rank
    _describe_further(texts, tables, sums, text, ids, n, features[:, 2 + 2 * n_rankings :])
