"""Heads that make label vectors from label texts: they train, resume, load and take new labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted
from support.small_recipes import LIGHT, made
from torch import nn

import megalabel
from megalabel.encoders.labels import LabelTexts
from megalabel.errors import SettingError
from megalabel.heads.abilities import BindsLabels
from megalabel.heads.base import Head
from megalabel.inputs.token_store import TokenStore
from megalabel.recipes.renee import renee
from megalabel.testing import check_recipe
from megalabel.training.optim.groups import Optimizers, lazy_adam, plain_adam
from megalabel.types import Positives, TopK


class Dual(BindsLabels, Head):
    """Label vectors are those of the labels' texts; softmax over the labels of the batch."""

    reduction = "mean"

    def __init__(self, n_labels: int, dim: int) -> None:
        super().__init__()
        self.n_labels, self.dim = n_labels, dim
        self.register_buffer("vectors", torch.zeros(n_labels, dim))

    def loss(self, views, positives: Positives):
        present, where = positives.labels.unique(return_inverse=True)
        labels = nn.functional.normalize(self.label_texts(present)[:, 0], dim=1)
        logits = (20 * nn.functional.normalize(views[:, 0], dim=1) @ labels.T).log_softmax(1)
        return -logits[positives.rows, where].mean()

    def settle(self):
        self.vectors.copy_(nn.functional.normalize(self.label_texts.all_views()[:, 0], dim=1))

    def topk(self, views, k, *, exclude=None, row_to_label=None):
        scores = nn.functional.normalize(views[:, 0], dim=1) @ self.vectors.T
        if exclude is not None:
            scores[exclude.rows, exclude.labels] = -torch.inf
        best = scores.detach().topk(min(k, self.n_labels))
        return TopK(best.indices, best.values)

    def config(self):
        return {"n_labels": self.n_labels, "dim": self.dim}


def dual(corpus, shared: bool = True):
    recipe = renee(corpus, **{**LIGHT, "epochs": 4})
    encoder = recipe.encoder if shared else renee(corpus, **LIGHT).encoder
    store = TokenStore.build(corpus.label_texts, encoder.tokenizer, 16)
    side = LabelTexts(store, encoder, shared=shared)
    named = {"encoder": plain_adam(recipe.encoder, 0.002), "tokens": lazy_adam(recipe.encoder, 0.02)}
    if not shared:
        named |= {"labels": plain_adam(encoder, 0.002), "label_tokens": lazy_adam(encoder, 0.02)}
    head = Dual(corpus.n_labels, recipe.encoder.dim)
    return replace(recipe, head=head, optimizers=Optimizers(**named), parts={"labels": side})


@pytest.mark.parametrize("shared", [True, False])
def test_a_dual_encoder_trains_resumes_and_loads(shared):
    check_recipe(lambda corpus: dual(corpus, shared), planted())


def test_a_loaded_dual_encoder_ranks_labels_that_it_never_saw(tmp_path):
    corpus = planted()
    megalabel.train(dual(corpus), tmp_path / "r", device="cpu", quiet=True)
    model = megalabel.load(tmp_path / "r", trust=[Dual.__module__.split(".")[0]])
    new = model.with_label_set(["w3a w3b", "w9a w9b", "nothing"])
    assert [best[0][0] for best in new.predict(["w9b w9a", "w3a w3b"], 1)] == ["w9a w9b", "w3a w3b"]
    new.save(tmp_path / "new")
    again = megalabel.load(tmp_path / "new", trust=[Dual.__module__.split(".")[0]])
    assert np.array_equal(again.topk(["w3a"], 3).scores, new.topk(["w3a"], 3).scores)


def test_other_heads_cannot_take_another_set_of_labels(tmp_path):
    model = megalabel.train(made(), tmp_path / "r", device="cpu", quiet=True)
    with pytest.raises(SettingError):
        model.with_label_set(["a", "b"])


def test_labels_are_not_added_where_label_texts_have_their_own_encoder(tmp_path):
    model = megalabel.train(dual(planted(), shared=False), tmp_path / "r", device="cpu", quiet=True)
    with pytest.raises(SettingError, match="encoder of their own"):
        model.with_labels(["a"])
