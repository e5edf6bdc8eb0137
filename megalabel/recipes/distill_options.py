"""The options of the recipe `distill`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from megalabel.recipes.linear_options import LinearOptions, StoredWeightsOptions
from megalabel.recipes.options import Nonnegative, Unset, above, between

LEAF_LABELS = 256  # labels per leaf, approximately; twice as many as in `linear`, for fewer trees (docs/log.md)


class Distill(LinearOptions, StoredWeightsOptions):
    """The options of the recipe distill."""

    panel = "Distillation"
    on_any_run = True

    run: Annotated[str, "The folder of a finished run of any recipe."]
    size: Annotated[float, above(0), "Bytes of the model over those of the run's, at most."] = 0.1
    texts: Annotated[str | None, Unset("none"), "File of further texts, which the run labels."] = None
    texts_weight: Annotated[float, above(0), "Weight of these texts; training texts have 1."] = 0.3
    least_probability: Annotated[
        float, between(0, 1), "Labels that the run gives such a text have this or more."
    ] = 0.4
    trees: Annotated[int, between(1, 99), "Number of trees that are averaged."] = 2
    prune_below: Annotated[Nonnegative, "Weights below this absolute value are dropped, and more to fit."] = 0.05
    refit: Annotated[bool, "After the comparison, learn the texts that the run held out too."] = True
    weights: Annotated[
        Literal["float32", "bfloat16", "int8"], "Stored type of the model's weights: 4, 2 or 1 byte each."
    ] = "int8"

    def solver(self, n_labels: int) -> dict[str, Any]:
        """The arguments of `solve_trees`, with leaves of about 256 labels unless clusters are given."""
        from megalabel.linear.forest import wide_depths

        found = super().solver(n_labels)
        return found if self.clusters else {**found, "depths": wide_depths(n_labels, LEAF_LABELS)}
