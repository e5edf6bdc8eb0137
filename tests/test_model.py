"""What a saved model holds of its head."""

import pytest
import torch
from support.manifests import edited
from untrained import untrained

from megalabel.errors import FormatError
from megalabel.heads.dense import DenseHead
from megalabel.heads.wrappers.auxiliary import WithAuxiliary, without_auxiliary
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.models.neural import NeuralClassifier

NAMES = ["one", "two", "three", "four", "five", "six"]
TEXTS = ["a b", "c", "d d a"]


def with_auxiliary(head):
    return WithAuxiliary(head, torch.arange(len(NAMES)) % 2, loss_weight=0.4, until=9)


def test_a_restored_head_shares_its_weights_with_the_head_around_it(tmp_path):
    model = untrained(NAMES)
    around = with_auxiliary(model.head)
    assert without_auxiliary(around) is model.head
    model.save(tmp_path / "model")
    weight, classifier = model.head.weight.detach().clone(), around.auxiliary.weight.detach().clone()
    with torch.no_grad():
        model.head.weight.zero_()
    model.restore(tmp_path / "model")
    assert torch.equal(around.head.weight, weight)
    assert torch.equal(around.auxiliary.weight, classifier)


def nested():
    parts = [DenseHead(2, 8, init_std=1.0), WithProjection(DenseHead(4, 16, init_std=1.0), 8, activation="relu")]
    return PartitionedHead(parts, torch.tensor([3, 0, 5, 1, 2, 4]))


def test_heads_inside_heads_load_as_they_were(tmp_path):
    model = untrained(NAMES)
    model.head = nested()
    expected = model.topk(TEXTS, 6)
    model.save(tmp_path / "model")
    loaded = NeuralClassifier.load(tmp_path / "model")
    assert type(loaded.head) is PartitionedHead
    assert loaded.head.parts[1].activation == "relu"
    found = loaded.topk(TEXTS, 6)
    assert (found.ids == expected.ids).all()
    assert (found.scores == expected.scores).all()


def test_a_model_cannot_have_code_imported_through_an_inner_head(tmp_path):
    model = untrained(NAMES)
    model.head = nested()
    model.save(tmp_path / "model")
    with edited(tmp_path / "model") as manifest:
        manifest["head"]["config"]["parts"][0]["class"] = "antigravity:Head"
    with pytest.raises(FormatError, match="antigravity"):
        NeuralClassifier.load(tmp_path / "model")
