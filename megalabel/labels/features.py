"""Label features: what a label is about, as a sparse row, from its training texts, its own text, or both.

"texts" is PIFA, *positive instance feature aggregation* (Yu et al., "PECOS: Prediction for Enormous and
Correlated Output Spaces", JMLR 2022, section 3.1): the sum of the TF-IDF rows of a label's training texts, each
of length 1. The sum is *not* brought to length 1, so that in the label graph's averages a label with many texts
weighs more than one with few; the clustering looks at directions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError
from megalabel.inputs.bags import Bags
from megalabel.inputs.tfidf import l2_rows, tfidf
from megalabel.inputs.token_store import TokenStore
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.kernels.sparse.sparse_rows import keep_largest, product_keep_largest

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

SOURCES = ("texts", "names", "both")


@dataclass(frozen=True)
class Material:
    """What label features are made from; the rows of each have length 1, or are zeros.

    labels (N, L) float32 CSR of ones. texts (N, V) float32 CSR: the training texts, or their bags of words.
    names (L, V) float32 CSR: the label texts, by an idf of their own. names_as_texts: the same by the training
    texts' idf, so in the space of `texts`; None where that is of bags of words, which have no such space.
    """

    labels: sp.csr_matrix
    texts: sp.csr_matrix
    names: sp.csr_matrix
    names_as_texts: sp.csr_matrix | None


def material(
    data: Corpus, rows: np.ndarray | None, *, source: str, tokenizer: str, vocabulary: int, max_length: int
) -> Material:
    """Tokens and TF-IDF of the training and label texts.

    Args:
        data: the corpus.
        rows: (n,) integers, which training texts are looked at; None for all.
        source: the source of the features; what it does not want stays empty.
        tokenizer: words or symbols; learnt from these very texts and the label texts.
        vocabulary: most tokens that it has.
        max_length: tokens of a text that are read.

    Raises:
        SettingError: an unknown source or tokenizer, a vocabulary or length that is too small.
        DataError: bags of words with NaN or inf.
    """
    if source not in SOURCES:
        raise SettingError(f"source = {source!r}", wanted=", ".join(SOURCES), next_step="name one of these")
    if vocabulary < 3:
        raise SettingError(
            f"vocabulary = {vocabulary}",
            wanted="3 or more: padding, unknown words, and a word",
            next_step="raise it, 100000 is common",
        )
    side = data.train
    labels = side.labels if rows is None else side.labels[rows]
    bags = None
    if side.features is not None and source != "names":
        given = side.features if rows is None else side.features[rows]
        bags = Bags(given.shape[1]).transform(given)
        if source == "texts":
            return Material(labels, bags, sp.csr_matrix((data.n_labels, 0), dtype=np.float32), None)
    texts = Texts.blank(0) if source == "names" else side.texts if rows is None else side.texts[rows]
    words = learn_tokenizer((t for part in (texts, data.label_texts) for t in part), vocabulary, tokenizer)
    unknown = words.tokenizer.token_to_id("[UNK]")
    skip = sorted({words.pad_id, *(() if unknown is None else (unknown,))})
    name_store = TokenStore.build(data.label_texts, words, max_length)
    if source == "names":
        nothing = sp.csr_matrix(
            (len(side) if rows is None else len(rows), words.vocabulary_size), dtype=np.float32
        )
        return Material(labels, nothing, tfidf(name_store, skip=skip)[0], None)
    if bags is not None:
        return Material(labels, bags, tfidf(name_store, skip=skip)[0], None)
    weights, idf = tfidf(TokenStore.build(texts, words, max_length), skip=skip)
    return Material(labels, weights, tfidf(name_store, skip=skip)[0], tfidf(name_store, idf=idf, skip=skip)[0])


def label_features(found: Material, source: str, keep: int) -> sp.csr_matrix:
    """The features Φ of every label: (L, V) float32 CSR, or (L, 2V) for "both".

    "texts": Yᵀ times the texts' rows, the `keep` largest entries of each label. A label without training text
    takes its own text's row, in the same space, where there is one. "names": the label texts' rows. "both": the
    two side by side, each brought to length 1, so that they weigh alike. A label with neither text nor name is
    a row of zeros.

    Raises:
        DataError: not a single label has a feature.
    """
    if source == "names":
        features = keep_largest(found.names, keep)
    else:
        features = pifa(found.labels, found.texts, keep)
        if source == "both":
            features = sp.hstack([l2_rows(features), keep_largest(found.names, keep)], format="csr")
        elif found.names_as_texts is not None:
            features = filled(features, found.names_as_texts)
    if features.nnz == 0:
        raise DataError(
            f"no label has a feature from its {source}",
            wanted="texts or label texts with words in them",
            next_step="name another source, or look at the data with `megalabel data check`",
        )
    return features


def pifa(labels: sp.csr_matrix, texts: sp.csr_matrix, keep: int) -> sp.csr_matrix:
    """Yᵀ X with the `keep` largest entries of each row: (N, L) and (N, V) to (L, V) float32 CSR."""
    return product_keep_largest(labels.T.tocsr(), texts, keep)


def filled(features: sp.csr_matrix, others: sp.csr_matrix) -> sp.csr_matrix:
    """`features`, with the rows of `others` where a row is empty."""
    empty = np.flatnonzero(np.diff(features.indptr) == 0)
    if len(empty) == 0 or others[empty].nnz == 0:
        return features
    pick = sp.csr_matrix(
        (np.ones(len(empty), dtype=np.float32), (empty, empty)), shape=(features.shape[0], features.shape[0])
    )
    return sp.csr_matrix(features + pick @ others)
