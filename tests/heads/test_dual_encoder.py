"""The head of DEXML: the checks of all heads on a table in place of a labels' encoder, and what is its own."""

from __future__ import annotations

import inspect

import pytest
import torch
from heads.label_views import TableOfLabels

from megalabel.data.texts import Texts
from megalabel.encoders import build
from megalabel.encoders.labels import LabelTexts
from megalabel.errors import SettingError
from megalabel.heads.abilities import LabelViews
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.inputs.token_store import TokenStore
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.testing import check_head

N_LABELS, DIM = 40, 12


def make(**arguments: object) -> DualEncoderHead:
    head = DualEncoderHead(N_LABELS, DIM, **arguments)
    head.bind(TableOfLabels(torch.randn(N_LABELS, DIM, generator=torch.Generator().manual_seed(1))))
    head.settle()
    return head


@pytest.mark.parametrize("arguments", [{}, {"reduction": "sum", "labels_at_once": 7}, {"negatives": 20}], ids=str)
def test_the_checks_of_all_heads(arguments):
    check_head(lambda: make(**arguments), learns=False, trained=False)  # it learns through an encoder


def test_what_a_head_may_ask_of_label_texts_is_there():
    for kind in (LabelTexts, TableOfLabels):
        assert inspect.signature(kind.all_views) == inspect.signature(LabelViews.all_views)
        assert callable(kind.__len__) and callable(kind.__call__)
    encoder = build.small(learn_tokenizer(["one two", "three"], 20), learned=True, max_length=8, dropout=0.5)
    texts = ["one two", "three", "", "two"]
    labels: LabelViews = LabelTexts(
        TokenStore.build(Texts.from_strings(texts), encoder.tokenizer, 8), encoder, shared=True
    )
    views = labels.all_views(batch_size=3)
    assert tuple(views.shape) == (len(labels), labels.n_views, labels.dim)
    assert encoder.training and not views.requires_grad
    with torch.no_grad():
        encoder.eval()
        torch.testing.assert_close(views, labels(torch.arange(4)))


def test_what_predicts_keeps_the_label_vectors_and_nothing_per_training_text():
    head = make(negatives=5, hard_negatives=2, n_texts=1000)
    head.settle()
    smaller = head.without_hard_negatives()
    assert smaller.get_buffer("label_vectors").data_ptr() == head.get_buffer("label_vectors").data_ptr()
    assert smaller.get_buffer("hard").numel() == 0
    rebuilt = DualEncoderHead.from_config(smaller.config())
    rebuilt.load_state_dict(smaller.state_dict())
    views = torch.randn(4, 1, DIM, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rebuilt.topk(views, 5).ids, head.topk(views, 5).ids)


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": 0.0}, {"negatives": -1}, {"hard_negatives": -1}, {"hard_negatives": 3},
        {"labels_at_once": 0}, {"reduction": "max"},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_out_of_range(bad):
    with pytest.raises(SettingError) as caught:
        make(**bad)
    assert caught.value.where == next(iter(bad))
