"""The `linear` model: the mean over label trees of the probability of each label."""

from __future__ import annotations

from array import array

from .container import Container
from .features import WordFeatures
from .kernels import chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEEP = 2  # as in `megalabel.models.linear`
MODES = ("l3-hinge", "l2-hinge", "sigmoid")
# The arrays of a level and the item formats that they may have.
ARRAYS = {
    "offsets": "q", "starts": "q", "features": "iH", "entries": "Iq", "lengths": "B", "children": "BHi",
    "values": "fHb", "scales": "f", "bias": "f",
}  # fmt: skip
OPTIONAL = ("lengths", "scales")


class TreeRanker:
    """Ranks labels for a text by the trees of a file."""

    def __init__(self, file: Container) -> None:
        self._file, self._features = file, WordFeatures(file)
        self._trees = [self._tree(i, about) for i, about in enumerate(file.model["trees"])]
        if not self._trees:
            raise file.refused("a model without trees")

    def _tree(self, i: int, about: dict[str, Any]) -> Any:
        file = self._file
        levels = []
        for j in range(len(about["beams"]) + 1):
            names = {name: f"tree{i}.{j}.{name}" for name in ARRAYS}
            levels.append(
                tuple(
                    None if name in OPTIONAL and at not in file else file.array(at, ARRAYS[name])
                    for name, at in names.items()
                )
            )
        order, mode = file.array(f"tree{i}.order", "q"), MODES.index(about["post_processor"])
        return chosen.tree(levels, order, [int(beam) for beam in about["beams"]], mode, self._features.size)

    def rank(self, text: str, k: int) -> tuple[list[int], list[float]]:
        """The k best labels of a text, and their probabilities as float32."""
        columns, values = self._features(text)
        if len(self._trees) == 1:
            ids, scores = chosen.search(self._trees[0], columns, values, k)
            return ids, scores
        totals: dict[int, float] = {}
        share, depth = 1 / len(self._trees), DEEP * max(k, 10)
        for tree in self._trees:
            for label, score in zip(*chosen.search(tree, columns, values, depth), strict=True):
                totals[label] = totals.get(label, 0.0) + share * score
        best = sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:k]
        return [label for label, _ in best], list(array("f", [total for _, total in best]))
