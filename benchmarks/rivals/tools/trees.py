"""Omikuji and PECOS XR-Linear: python trees.py FOLDER omikuji-bonsai|omikuji-parabel|pecos[-labels]."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from shared import DEPTH, arguments, best, finish, read, tfidf, with_label_rows

TREES = 3
BONSAI = {"cluster_balanced": False, "cluster_k": 100, "max_depth": 3}


def omikuji(folder: Path, name: str, x: sp.csr_matrix, y: sp.csr_matrix, test: sp.csr_matrix) -> sp.csr_matrix:
    """Scores of the best labels by three trees."""
    from omikuji import Model

    path = folder / f"{name}.txt"
    with path.open("w", encoding="ascii") as file:
        file.write(f"{x.shape[0]} {x.shape[1]} {y.shape[1]}\n")
        for row in range(x.shape[0]):
            part = slice(x.indptr[row], x.indptr[row + 1])
            pairs = zip(x.indices[part].tolist(), x.data[part].tolist(), strict=True)
            labels = ",".join(map(str, y.indices[y.indptr[row] : y.indptr[row + 1]].tolist()))
            file.write(" ".join([labels, *(f"{column}:{value:.6g}" for column, value in pairs)]) + "\n")
    settings = Model.default_hyper_param()
    settings.n_trees = TREES
    for key, value in BONSAI.items() if "bonsai" in name else ():
        setattr(settings, key, value)
    model = Model.train_on_data(str(path), settings)
    path.unlink()
    rows, columns, values = [], [], []
    for row in range(test.shape[0]):
        part = slice(test.indptr[row], test.indptr[row + 1])
        features = list(zip(test.indices[part].tolist(), test.data[part].tolist(), strict=True))
        for label, score in model.predict(features, top_k=DEPTH):
            rows.append(row)
            columns.append(label)
            values.append(score)
    return sp.csr_matrix((np.asarray(values, np.float32), (rows, columns)), shape=(test.shape[0], y.shape[1]))


def pecos(folder: Path, name: str, x: sp.csr_matrix, y: sp.csr_matrix, test: sp.csr_matrix) -> sp.csr_matrix:
    """The mean score of three seeds."""
    from pecos.utils.smat_util import CsrEnsembler
    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel

    features = LabelEmbeddingFactory.create(y, x, method="pifa")
    found = []
    for seed in range(TREES):
        chain = Indexer.gen(features, indexer_type="hierarchicalkmeans", seed=seed)
        found.append(
            XLinearModel.train(x, y, C=chain, threshold=0.01).predict(test, only_topk=DEPTH, beam_size=10)
        )
    return sp.csr_matrix(CsrEnsembler.average(*map(sp.csr_matrix, found)))


if __name__ == "__main__":
    where, who = arguments()
    given = read(where)
    data = with_label_rows(given) if who.endswith("-labels") else given
    start = time.process_time()
    train, test = tfidf(data)
    tool = omikuji if who.startswith("omikuji") else pecos
    finish(
        where,
        who,
        best(tool(where, who, train, data.labels, test)),
        **{"features CPU s": time.process_time() - start},
    )
