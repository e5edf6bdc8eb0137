"""PECOS XR-Transformer with MiniLM: python xr_transformer.py FOLDER xr-transformer MODEL."""

from __future__ import annotations

import sys

from shared import DEPTH, arguments, best, finish, read, tfidf, with_label_rows


def main() -> None:
    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xtransformer.model import XTransformer
    from pecos.xmc.xtransformer.module import MLProblemWithText

    where, who = arguments()
    data = with_label_rows(read(where))
    x, test = tfidf(data)
    features = LabelEmbeddingFactory.create(data.labels, x, method="pifa")
    chain = Indexer.gen(features, indexer_type="hierarchicalkmeans")
    parameters = XTransformer.TrainParams.from_dict(
        {"matcher_params_chain": {"model_shortcut": sys.argv[3], "num_train_epochs": 3, "batch_size": 64}},
        recursive=True,
    )
    problem = MLProblemWithText(data.train, data.labels, X_feat=x)
    model = XTransformer.train(problem, clustering=chain, train_params=parameters)
    finish(where, who, best(model.predict(data.test, test, only_topk=DEPTH).tocsr()))


if __name__ == "__main__":
    main()
