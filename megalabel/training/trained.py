"""The model of a recipe with its current weights, and what it reaches on the held-out texts."""

from __future__ import annotations

import numpy as np

from megalabel.data.filters import filter_of
from megalabel.heads.base import Head
from megalabel.metrics.ranking import measure
from megalabel.models.neural import NeuralClassifier
from megalabel.phases import phase
from megalabel.training import selection
from megalabel.training.recipe import Recipe


def inference_head(recipe: Recipe) -> Head:
    """The head that predicts and is saved."""
    return recipe.head if recipe.inference_head is None else recipe.inference_head(recipe.head)


def model_of(recipe: Recipe) -> NeuralClassifier:
    """The model with the current weights; binds label texts to the head of the training as well."""
    names, side = recipe.data.label_texts, recipe.label_texts
    if side is not None:  # the training head needs them as well
        NeuralClassifier(recipe.encoder, recipe.head, names, recipe.max_length, side)
    return NeuralClassifier(recipe.encoder, inference_head(recipe), names, recipe.max_length, side)


@phase("validating")
def validated(model: NeuralClassifier, recipe: Recipe) -> dict[str, float]:
    """The metrics of a model on the held-out texts of its recipe, with that by which the best one is selected."""
    held, side, metric = np.asarray(recipe.validation), recipe.data.train, recipe.selection_metric
    depths, weights = selection.depths(metric), selection.weights(metric, recipe.data)
    top = model.topk(side.texts[held], k=max(depths), exclude=filter_of(side, held))
    return measure(top, side.labels[held], k=depths, inverse_propensity=weights)
