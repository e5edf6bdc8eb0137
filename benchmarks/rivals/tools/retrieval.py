"""Retrieval: python retrieval.py FOLDER knn|bm25."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from shared import DEPTH, Data, arguments, best, finish, read, tfidf, with_label_rows

NEIGHBORS = 50
BLOCK = 512  # test texts at once
WORDS = 2_000  # words of a label document


def knn(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the 50 nearest training rows by TF-IDF, votes weighted by similarity."""
    data = with_label_rows(data)
    x, test = tfidf(data)
    columns = x.T.tocsr()
    parts = []
    for start in range(0, test.shape[0], BLOCK):
        near = (test[start : start + BLOCK] @ columns).tocsr()
        ids, values = best(near, NEIGHBORS)
        there = ids >= 0
        rows = np.repeat(np.arange(len(ids)), NEIGHBORS).reshape(ids.shape)[there]
        votes = sp.csr_matrix((values[there], (rows, ids[there])), shape=near.shape)
        parts.append(best((votes @ data.labels).tocsr()))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def bm25(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """BM25 over label documents."""
    import bm25s

    of_label = data.labels.T.tocsr()
    documents = []
    for label, name in enumerate(data.names):
        words = name.split()
        for row in of_label.indices[of_label.indptr[label] : of_label.indptr[label + 1]]:
            if len(words) > WORDS:
                break
            words += data.train[row].split()
        documents.append(" ".join(words[:WORDS]))
    index = bm25s.BM25()
    index.index(bm25s.tokenize(documents, stopwords=None, show_progress=False), show_progress=False)
    asked = bm25s.tokenize(data.test, stopwords=None, show_progress=False)
    ids, scores = index.retrieve(asked, k=min(DEPTH, len(documents)), show_progress=False, sorted=True)
    return ids.astype(np.int64), scores.astype(np.float32)


if __name__ == "__main__":
    where, who = arguments()
    finish(where, who, {"knn": knn, "bm25": bm25}[who](read(where)))
