"""`Explanation`: why a model gives a text a label, or does not, as values that add up to the score."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Scale = Literal["log-probability", "logit", "margin", "mixture"]


@dataclass(frozen=True)
class Word:
    """A word of the text, the characters start to end (exclusive), and what it adds to the value.

    For bags of words, start and end are the number of the feature.
    """

    start: int
    end: int
    text: str
    contribution: float


@dataclass(frozen=True)
class Node:
    """A node on the way to the label in a tree.

    Attributes:
        part: the part of the model, such as "tree 1" or "head".
        level: from 0; the last one is that of the labels.
        node: its number in the level.
        rank: its place among the candidates of the level, from 1; None if the node above was not kept.
        n_candidates: the number of candidates.
        beam: how many are kept; 0 at the level of the labels.
        logit, bias, words: of linear trees, the score of the node, which is the bias and the sum of what the words
            add, in the order of the words of the explanation; None and empty for other trees.
    """

    part: str
    level: int
    node: int
    rank: int | None
    n_candidates: int
    beam: int
    logit: float | None = None
    bias: float | None = None
    words: tuple[float, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether the search goes on below the node, or reaches the label itself."""
        return self.rank is not None and (not self.beam or self.rank <= self.beam)


@dataclass(frozen=True)
class Ranker:
    """A part of a model that merges several, and what it says about the label.

    name. rank: from 1, None if the label is not among the best that are merged. score: that of the part.
    term: what it adds to the merged score. share: its share of all terms, from 0 to 1; 0 for a correction.
    """

    name: str
    rank: int | None
    score: float | None
    term: float
    share: float


@dataclass(frozen=True)
class Evidence:
    """A training text near to the text: its row, how similar it is (0 to 1), and whether it has the label."""

    row: int
    similarity: float
    has_label: bool


@dataclass(frozen=True)
class Explanation:
    """Why a model gives a text a label, or does not.

    Attributes:
        text: the text; "" for bags of words.
        label, name: the id and the name of the label.
        scale: what the value is: the logarithm of a probability, a logit, a margin, or the score of a mixture.
        value: the score of the label, on that scale.
        base: the value without words. base + Σ contributions = value; `error` is the difference.
        words: the words in the order of the text.
        rank, score: the place (from 1) and the score of the label in the ranking of the model, None where it is
            not among the labels that were ranked.
        n_ranked: how many labels were ranked.
        nodes: the way to the label, for models with trees.
        rankers: the parts of a hybrid, an ensemble or a search, and their shares.
        neighbors: the nearest training texts, for models that have them; those with the label first.
    """

    text: str
    label: int
    name: str
    scale: Scale
    value: float
    base: float
    words: tuple[Word, ...]
    rank: int | None = None
    score: float | None = None
    n_ranked: int = 0
    nodes: tuple[Node, ...] = ()
    rankers: tuple[Ranker, ...] = ()
    neighbors: tuple[Evidence, ...] = ()

    @property
    def error(self) -> float:
        """value − base − Σ contributions."""
        return self.value - self.base - sum(word.contribution for word in self.words)

    def strongest(self, n: int = 3) -> list[Word]:
        """The n words that add most to the value, most first; fewer if fewer add anything."""
        found = sorted((w for w in self.words if w.contribution > 0), key=lambda w: (-w.contribution, w.start))
        return found[:n]

    @property
    def why_not(self) -> list[str]:
        """Where the label dropped out: a sentence for each tree or ranker; empty where nothing dropped it."""
        found = []
        for part in dict.fromkeys(node.part for node in self.nodes):
            cut = next((node for node in self.nodes if node.part == part and not node.kept), None)
            if cut is not None:
                found.append(
                    f"{part}: at level {cut.level} its cluster {cut.node} is {_ordinal(cut.rank)} of "
                    f"{cut.n_candidates:,}, and {cut.beam} are kept"
                )
        for ranker in self.rankers:
            if ranker.rank is None and ranker.share >= 0:
                found.append(f"{ranker.name}: the label is not among its best labels")
        if self.rank is None and not found:
            found.append(f"ranked below the {self.n_ranked:,} best labels")
        return found

    def as_json(self) -> dict[str, Any]:
        """All values, for `json.dumps`."""
        return {**asdict(self), "error": self.error, "why_not": self.why_not}

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, most: int = 20) -> list[str]:
        """A table: the label, the strongest words, rankers, neighbors, and where the label dropped out."""
        place = f"rank {self.rank:,}" if self.rank is not None else f"not among the {self.n_ranked:,} best labels"
        lines = [
            f"{self.name} (label {self.label}): {place}",
            f"{self.scale} {self.value:.4f}: {self.base:.4f} without words, {self.value - self.base:+.4f} by them",
        ]
        strong = sorted((w for w in self.words if w.contribution), key=lambda w: -abs(w.contribution))
        lines += [f"{word.contribution:>+10.4f}  {word.text}" for word in strong[:most]]
        if len(strong) > most:
            rest = sum(word.contribution for word in strong[most:])
            lines.append(f"{rest:>+10.4f}  {len(strong) - most} further word{'s' * (len(strong) - most > 1)}")
        for ranker in self.rankers:
            rank = "no rank" if ranker.rank is None else f"rank {ranker.rank:,}"
            lines.append(f"{ranker.term:>+10.4f}  {ranker.name} ({100 * ranker.share:.0f}%): {rank}")
        for near in self.neighbors:
            has = "has the label" if near.has_label else "does not have the label"
            what = f"training text {near.row:,}" if near.row >= 0 else f"text of label {-1 - near.row:,}"
            lines.append(f"similarity {near.similarity:.3f}: {what} {has}")
        return lines + self.why_not


def _ordinal(rank: int | None) -> str:
    return "not a candidate" if rank is None else f"number {rank:,}"
