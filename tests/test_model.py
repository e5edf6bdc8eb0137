"""What a saved model holds of its head."""

import json

import pytest
import torch
from untrained import untrained

from megalabel.errors import FormatError
from megalabel.heads.dense import DenseHead
from megalabel.heads.wrappers.auxiliary import WithAuxiliary
from megalabel.heads.wrappers.partitioned import Dealt
from megalabel.heads.wrappers.projection import WithIntermediate
from megalabel.models.neural import Model

NAMES = ["one", "two", "three", "four", "five", "six"]
TEXTS = ["a b", "c", "d d a"]


def with_auxiliary(head):
    return WithAuxiliary(head, torch.arange(len(NAMES)) % 2, share=0.4, until=9)


def test_no_auxiliary_classifier_is_saved(tmp_path):
    model = untrained(NAMES)
    inner = model.head
    model.head = with_auxiliary(inner)
    expected = model.topk(TEXTS, 3)
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert isinstance(loaded.head, DenseHead)
    assert set(loaded.head.state_dict()) == set(inner.state_dict())
    found = loaded.topk(TEXTS, 3)
    assert (found.labels == expected.labels).all()
    assert (found.scores == expected.scores).all()
    assert "uxiliary" not in (tmp_path / "model" / "manifest.json").read_text()


def test_restoring_gives_the_head_back_and_leaves_the_classifier(tmp_path):
    model = untrained(NAMES)
    model.head = with_auxiliary(model.head)
    model.save(tmp_path / "model")
    weight, classifier = model.head.head.weight.detach().clone(), model.head.auxiliary.weight.detach().clone()
    with torch.no_grad():
        model.head.head.weight.zero_()
        model.head.auxiliary.weight.add_(1)
    model.restore(tmp_path / "model")
    assert torch.equal(model.head.head.weight, weight)
    assert torch.equal(model.head.auxiliary.weight, classifier + 1)


def nested():
    parts = [DenseHead(2, 8, init_std=1.0), WithIntermediate(DenseHead(4, 16, init_std=1.0), 8, activation="relu")]
    return Dealt(parts, torch.tensor([3, 0, 5, 1, 2, 4]))


def test_heads_inside_heads_load_as_they_were(tmp_path):
    model = untrained(NAMES)
    model.head = with_auxiliary(nested())
    expected = model.topk(TEXTS, 6)
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert type(loaded.head) is Dealt
    assert loaded.head.parts[1].activation == "relu"
    found = loaded.topk(TEXTS, 6)
    assert (found.labels == expected.labels).all()
    assert (found.scores == expected.scores).all()


def test_a_model_cannot_have_code_imported_through_an_inner_head(tmp_path):
    model = untrained(NAMES)
    model.head = nested()
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["head"]["settings"]["parts"][0]["class"] = "antigravity:Head"
    path.write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match="antigravity"):
        Model.load(tmp_path / "model")
