"""Explains labels of neural models by the contributions of their tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from megalabel.encoders.attribution import Contributions, token_contributions
from megalabel.heads.label_scores import label_score, path_places
from megalabel.inputs.batches import pad
from megalabel.inputs.spans import token_spans
from megalabel.models.explain import explained, words_with
from megalabel.models.explanation import Explanation, Node, Scale, Word
from megalabel.models.neural import NeuralClassifier
from megalabel.models.scores import score_kind


def neural_words(
    model: NeuralClassifier, line: str, score: Callable[[Tensor], Tensor]
) -> tuple[tuple[Word, ...], float, Contributions]:
    """The words of a text with what they add to a number that is computed from the views.

    Returns:
        The words, the value without them, in which special tokens count, and what was found for tokens.
    """
    ids, spans, special = token_spans(model.encoder.tokenizer, line, model.max_length)
    with model.evaluation():
        found = token_contributions(model.encoder, ids, special, score)
    words, rest = words_with(line, spans, found.values)
    return words, found.base + rest, found


@explained.register
def _(model: NeuralClassifier, line: Any, label: int) -> Explanation:
    words, base, found = neural_words(model, line, label_score(model.head, label))
    kind = score_kind(model)
    scale: Scale = "log-probability" if kind == "probability" else "margin" if kind == "margin" else "logit"
    nodes = _nodes(model, line, label)
    return Explanation(line, label, model.label_texts[label], scale, found.value, base, words, nodes=nodes)


def _nodes(model: NeuralClassifier, line: str, label: int) -> tuple[Node, ...]:
    ids = model.encoder.tokenizer.encode([line], model.max_length)
    tokens, mask = pad([np.asarray(ids[0], np.int64)], model.encoder.tokenizer.pad_id)
    with model.evaluation(), torch.no_grad():
        views = model.encoder(tokens.to(model.device), mask.to(model.device)).float()
        places = path_places(model.head, label, views)
    return tuple(
        Node("head", p.level, p.node, None if p.rank is None else p.rank + 1, p.n_candidates, p.beam)
        for p in places
    )
