"""Explains labels of models that merge rankings: hybrids, ensembles and searches, with the share of each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from megalabel.models.ensemble import Ensemble
from megalabel.models.explain import explained
from megalabel.models.explain_linear import feature_words, tree_nodes, tree_values
from megalabel.models.explain_neural import neural_words
from megalabel.models.explanation import Evidence, Explanation, Node, Ranker, Word
from megalabel.models.hybrid import HybridClassifier, rescale, whole_words
from megalabel.models.mixture import DEPTH, Mixture, log_odds
from megalabel.models.retrieval import TYPES, Neighbor, RetrievalClassifier, rankings
from megalabel.types import ScoreType, TopK

NEIGHBORS, SEARCHED = 5, 50  # training texts that are shown, and among which those with the label are looked for


def mixed(
    mixture: Mixture, names: Sequence[str], found: Sequence[TopK], kinds: Sequence[ScoreType], label: int
) -> tuple[Ranker, ...]:
    """What each ranking of a text adds to the merged score of a label."""
    terms, places = [], []
    for i, (top, kind) in enumerate(zip(found, kinds, strict=True)):
        ids, scores = top.numpy()
        at = np.flatnonzero(ids[0] == label)
        score = float(scores[0, at[0]]) if len(at) else None
        places.append((int(at[0]) + 1 if len(at) else None, score))
        terms.append(0.0 if score is None else term_of(mixture, i, score, kind))
    total = sum(terms) or 1.0
    return tuple(
        Ranker(name, rank, score, term, term / total)
        for name, (rank, score), term in zip(names, places, terms, strict=True)
    )


def term_of(mixture: Mixture, i: int, score: float, kind: ScoreType) -> float:
    """What ranking i of a mixture adds to the score of a label to which it gives a score."""
    odds = float(log_odds(np.array([score]), kind)[0])
    z = np.clip(mixture.slopes[i] * odds + mixture.offsets[i], -500, 500)
    return float(mixture.weights[i] / np.sqrt(1 + np.exp(-z)))


def spread(
    mixture: Mixture, i: int, kind: ScoreType, ranker: Ranker, part: Explanation
) -> tuple[float, tuple[Word, ...]]:
    """The term of a ranking as what it is without words, and what the words add to it.

    The words share the difference in the proportions in which they add to the value of the part.
    """
    change = sum(word.contribution for word in part.words)
    if ranker.rank is None or abs(change) < 1e-9:
        return ranker.term, tuple(replace(word, contribution=0.0) for word in part.words)
    score = np.exp(part.base) if part.scale == "log-probability" else part.base
    if part.scale == "log-probability" and kind == "logit":
        score = part.base
    base = term_of(mixture, i, float(score), kind)
    factor = (ranker.term - base) / change
    return base, tuple(replace(word, contribution=factor * word.contribution) for word in part.words)


def merged(
    line: str,
    model: Any,
    label: int,
    rankers: Sequence[Ranker],
    parts: Sequence[Explanation | None],
    kinds: Sequence[ScoreType],
    final: float | None,
) -> Explanation:
    """The explanation of a mixture by those of its parts; None for a part without words."""
    base, sums = 0.0, np.zeros(0)
    shown: tuple[Word, ...] = ()
    nodes: list[Node] = []
    for i, (ranker, part, kind) in enumerate(zip(rankers, parts, kinds, strict=True)):
        if part is None:
            base += ranker.term
            continue
        own, words = spread(model.mixture, i, kind, ranker, part)
        base += own
        nodes += [replace(node, part=f"{ranker.name}, {node.part}") for node in part.nodes]
        values = np.array([word.contribution for word in words])
        sums, shown = sums + values if shown else values, words
    value = sum(ranker.term for ranker in rankers)
    if final is not None:  # boosted trees correct the mixture
        rankers = [*rankers, Ranker("correction by the learned merge", 1, None, final - value, 0.0)]
        base, value = base + final - value, final
    total = tuple(replace(word, contribution=c) for word, c in zip(shown, sums.tolist(), strict=True))
    name = model.label_texts[label]
    return Explanation(
        line, label, name, "mixture", value, base, total, nodes=tuple(nodes), rankers=tuple(rankers)
    )


@explained.register
def _(model: HybridClassifier, line: Any, label: int) -> Explanation:
    found = model.search([line], DEPTH)
    names = ["neural", *(["joint trees"] if model.joint_trees else []), "word trees"]
    rankers = mixed(model.mixture, names, found.rankings, model.score_types, label)
    parts: list[Explanation | None] = [explained(model.base_model, line, label)]
    x = model.text.transform([line])
    x.sort_indices()
    if model.joint_trees:
        parts.append(_joint(model, line, label))
    trees = tree_values(model.word_trees, x, label)
    nodes = tree_nodes([f"tree {i + 1}" for i in range(len(model.word_trees))], trees.steps, model.text, line, x)
    words = feature_words(model.text, line, trees.features)
    parts.append(Explanation(line, label, "", "log-probability", trees.value, trees.base, words, nodes=nodes))
    final = None
    if model.index is not None and model.learned is not None:
        ids, scores = model.topk([line], DEPTH).numpy()
        at = np.flatnonzero(ids[0] == label)
        final = float(scores[0, at[0]]) if len(at) else None
    result = merged(line, model, label, rankers, parts, model.score_types, final)
    if model.index is None or not model.index.n_features:
        return result
    return replace(result, neighbors=_evidence(model.neighbors([line], SEARCHED)[0], label))


def _joint(model: HybridClassifier, line: str, label: int) -> Explanation:
    """That of trees over words and the embedding, whose part is divided among the words of the text too."""
    x = whole_words(model.text, model.text.transform([line]))
    x.sort_indices()
    views = model.base_model.encode([line])[:, -1]
    found = tree_values(model.joint_trees, x, label, rescale(model.scale, views.copy()))
    direction = torch.from_numpy(found.dense)

    def score(of: Tensor) -> Tensor:
        last = of[:, -1]
        unit = last / last.norm(dim=1, keepdim=True).clamp(min=1e-12)
        found: Tensor = model.scale * unit @ direction.to(last)
        return found

    by_embedding, rest, _ = neural_words(model.base_model, line, score)
    words = tuple(
        replace(word, contribution=word.contribution + other.contribution)
        for word, other in zip(feature_words(model.text, line, found.features), by_embedding, strict=True)
    )
    names = [f"tree {i + 1}" for i in range(len(model.joint_trees))]
    nodes = tuple(
        replace(node, logit=None, bias=None, words=())
        for node in tree_nodes(names, found.steps, model.text, line, x)
    )
    base = found.base + rest
    return Explanation(line, label, "", "log-probability", found.value, base, words, nodes=nodes)


@explained.register
def _(model: RetrievalClassifier, line: Any, label: int) -> Explanation:
    found = rankings(model.index, model.text.transform([line]), DEPTH)
    rankers = mixed(model.mixture, ["nearest texts", "label documents"], found, TYPES, label)
    result = merged(line, model, label, rankers, [None, None], TYPES, None)
    return replace(result, neighbors=_evidence(model.neighbors([line], SEARCHED)[0], label))


@explained.register
def _(model: Ensemble, line: Any, label: int) -> Explanation:
    rows = [line] if isinstance(line, str) else line
    found = model.rankings(rows, DEPTH)
    kinds = [part.score_type for part in model.parts]
    names = [f"{type(part).__name__} {i + 1}" for i, part in enumerate(model.parts)]
    rankers = mixed(model.mixture, names, found, kinds, label)
    parts: list[Explanation | None] = [explained(part, line, label) for part in model.parts]
    return merged(
        line if isinstance(line, str) else "",
        model,
        label,
        rankers,
        [p if p and p.words else None for p in parts],
        kinds,
        None,
    )


def _evidence(near: Sequence[Neighbor], label: int) -> tuple[Evidence, ...]:
    """The nearest training texts, those with the label first."""
    found = [Evidence(n.row, n.similarity, label in n.labels) for n in near]
    return tuple(sorted(found, key=lambda e: not e.has_label)[:NEIGHBORS])
