"""`LabelClassifier` with the recipe `linear` beside scikit-learn's one-vs-rest, on the same texts in one process.

    python benchmarks/one_vs_rest.py bundled:wordnet-4k

Both get lists of texts and a sparse matrix. scikit-learn: TF-IDF of words and word pairs, and `SGDClassifier` with
the log loss for each label, which ranks all labels. `linear` chooses its settings, and is calibrated, within its
time; "fixed" has one tree over words, chooses nothing and is not calibrated. One thread each; times are CPU
seconds of the process.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

import numpy as np
import record
from data_sets import opened
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from megalabel.sklearn import LabelClassifier

FIXED = {"token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0, "label_texts": "no"}
FIXED |= {"trees": 1, "calibration": "no"}


def main() -> None:
    """Trains both, and records P@1 and times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data")
    options = parser.parse_args()
    corpus = opened(options.data)
    texts, test = list(corpus.train.texts), list(corpus.test.texts)
    warnings.simplefilter("ignore")  # labels without a training text
    LabelClassifier("linear").fit(["a b", "c d", "a d"] * 40, ["x", "y", "z"] * 40)  # compiles
    seconds, p1 = {}, {}
    for name, values in {"linear": {}, "linear, fixed": FIXED}.items():
        model = LabelClassifier("linear", label_texts=corpus.label_texts, options=values)
        seconds[name] = cpu(lambda model=model: model.fit(texts, corpus.train.labels))
        p1[name] = 100 * model.score(test, corpus.test.labels)
    for alpha in (1e-4, 1e-6):  # the default, and less regularization, for labels that are rare
        name, sgd = f"one-vs-rest, alpha {alpha:g}", SGDClassifier(loss="log_loss", alpha=alpha, random_state=0)
        features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        theirs = make_pipeline(features, OneVsRestClassifier(sgd))
        seconds[name] = cpu(lambda theirs=theirs: theirs.fit(texts, corpus.train.labels))
        best = np.concatenate(
            [theirs.decision_function(test[i : i + 256]).argmax(1) for i in range(0, len(test), 256)]
        )
        p1[name] = 100 * float(np.asarray(corpus.test.labels[np.arange(len(test)), best]).mean())
    size = f"{corpus.name} L={corpus.n_labels} texts={len(texts)} threads=1"
    for name in seconds:
        print(f"{name:26} P@1 {p1[name]:.2f}  {seconds[name]:.1f} CPU s")
        record.row("one_vs_rest", size, f"{name}: P@1", p1[name], "%")
        record.row("one_vs_rest", size, f"{name}: train CPU", seconds[name], "s")
        record.row("one_vs_rest", size, f"{name}: of linear, fixed", seconds[name] / seconds["linear, fixed"], "x")


def cpu(run) -> float:
    """The CPU seconds that a function takes."""
    before = time.process_time()
    run()
    return time.process_time() - before


if __name__ == "__main__":
    main()
