"""Label features: a sparse row per label, from its training texts, its label text, or both.

"texts" is PIFA, *positive instance feature aggregation* (Yu et al., "PECOS: Prediction for Enormous and
Correlated Output Spaces", JMLR 2022, section 3.1): the sum of the TF-IDF rows of the training texts of a label,
each of length 1. The sum is *not* scaled to length 1, so that a label with many texts has more weight in the
averages of the label graph than one with few; the clustering uses directions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.inputs.tfidf import l2_rows, tfidf
from megalabel.inputs.token_store import TokenStore
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.kernels.sparse.sparse_rows import keep_largest, product_keep_largest

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus

SOURCES = ("texts", "names", "both")


@dataclass(frozen=True)
class FeatureSources:
    """The sparse rows from which label features are made; all rows have length 1 or are zeros.

    Attributes:
        labels: (N, L) float32 CSR of ones.
        texts: (N, V) float32 CSR, the training texts or their bags of words.
        names: (L, V) float32 CSR, the label texts with an idf of their own.
        names_as_texts: (L, V) float32 CSR, the label texts with the idf of the training texts, and so in the
            space of `texts`; None where `texts` are bags of words, which have no such space.
    """

    labels: sp.csr_matrix
    texts: sp.csr_matrix
    names: sp.csr_matrix
    names_as_texts: sp.csr_matrix | None


def feature_sources(
    data: Corpus, rows: np.ndarray | None, *, source: str, tokenizer: str, vocabulary: int, max_length: int
) -> FeatureSources:
    """Tokenizes the training and label texts and computes their TF-IDF.

    Args:
        data: the corpus.
        rows: (n,) integers, the training texts to use; None for all.
        source: "texts", "names" or "both"; matrices that the source does not need stay empty.
        tokenizer: "words" or "symbols"; it is learned from these texts and the label texts.
        vocabulary: the maximum number of tokens of the tokenizer.
        max_length: the number of tokens read per text.

    Raises:
        SettingError: the source or tokenizer is unknown, or the vocabulary or length is too small.
        DataError: bags of words hold NaN or inf.
    """
    if source not in SOURCES:
        raise SettingError.choice("source", source, SOURCES)
    if vocabulary < 3:
        raise SettingError.range("vocabulary", vocabulary, 3, integer=True)  # padding, unknown words, and a word
    train = data.train
    labels = train.labels if rows is None else train.labels[rows]
    bags = None
    if train.features is not None and source != "names":
        given = train.features if rows is None else train.features[rows]
        bags = BagOfWords(given.shape[1]).transform(given)
        if source == "texts":
            return FeatureSources(labels, bags, sp.csr_matrix((data.n_labels, 0), dtype=np.float32), None)
    texts = Texts.blank(0) if source == "names" else train.texts if rows is None else train.texts[rows]
    learned = learn_tokenizer((t for part in (texts, data.label_texts) for t in part), vocabulary, tokenizer)
    unknown = learned.tokenizer.token_to_id("[UNK]")
    skip = sorted({learned.pad_id, *(() if unknown is None else (unknown,))})
    name_store = TokenStore.build(data.label_texts, learned, max_length)
    if source == "names":
        no_texts = sp.csr_matrix(
            (len(train) if rows is None else len(rows), learned.vocabulary_size), dtype=np.float32
        )
        return FeatureSources(labels, no_texts, tfidf(name_store, skip=skip)[0], None)
    if bags is not None:
        return FeatureSources(labels, bags, tfidf(name_store, skip=skip)[0], None)
    weights, idf = tfidf(TokenStore.build(texts, learned, max_length), skip=skip)
    return FeatureSources(
        labels, weights, tfidf(name_store, skip=skip)[0], tfidf(name_store, idf=idf, skip=skip)[0]
    )


def label_features(sources: FeatureSources, source: str, top_k: int) -> sp.csr_matrix:
    """Computes the features Φ of all labels; a label with neither training texts nor a name has a row of zeros.

    Args:
        sources: the rows of texts and label texts.
        source: "texts" for Yᵀ X, where a label without training texts gets the row of its label text in the same
            space; "names" for the rows of the label texts; "both" for the two side by side, each scaled to
            length 1, so that they have the same weight.
        top_k: the number of entries that are kept per label (and source), the largest ones.

    Returns:
        (L, V) float32 CSR; (L, 2V) for "both".

    Raises:
        DataError: no label has a feature.
    """
    if source == "names":
        features = keep_largest(sources.names, top_k)
    else:
        features = pifa(sources.labels, sources.texts, top_k)
        if source == "both":
            features = sp.hstack([l2_rows(features), keep_largest(sources.names, top_k)], format="csr")
        elif sources.names_as_texts is not None:
            features = fill_empty_rows(features, sources.names_as_texts)
    if features.nnz == 0:
        raise DataError(
            f"no label has a feature from its {source}",
            wanted="texts or label texts with words in them",
            next_step="choose another source, or look at the data with `megalabel data check`",
        )
    return features


def pifa(labels: sp.csr_matrix, texts: sp.csr_matrix, top_k: int) -> sp.csr_matrix:
    """Yᵀ X with the `top_k` largest entries of each row: (N, L) and (N, V) to (L, V) float32 CSR."""
    return product_keep_largest(labels.T.tocsr(), texts, top_k)


def fill_empty_rows(features: sp.csr_matrix, others: sp.csr_matrix) -> sp.csr_matrix:
    """`features`, with empty rows replaced by those of `others`."""
    empty = np.flatnonzero(np.diff(features.indptr) == 0)
    if len(empty) == 0 or others[empty].nnz == 0:
        return features
    pick = sp.csr_matrix(
        (np.ones(len(empty), dtype=np.float32), (empty, empty)), shape=(features.shape[0], features.shape[0])
    )
    return sp.csr_matrix(features + pick @ others)
