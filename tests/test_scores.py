"""What scores are, and the probabilities that they stand for."""

import io
import json

import numpy as np
import pytest
import torch
from untrained import untrained

from megalabel.errors import SettingError
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.inference.predict import Wanted, write_jsonl
from megalabel.models.ensemble import Ensemble
from megalabel.models.neural import NeuralClassifier
from megalabel.models.scores import probabilities, score_kind

NAMES = ["w", "x", "y", "z"]
TEXTS = ["a", "b c", "d", ""]


def with_head(head):
    plain = untrained(NAMES)
    return NeuralClassifier(plain.encoder, head.eval(), plain.label_texts, plain.max_length)


def written(model, wanted):
    file = io.StringIO()
    write_jsonl(model, TEXTS, wanted, file)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_logits_become_probabilities_in_the_same_order():
    model = untrained(NAMES)
    assert score_kind(model) == "logit"
    plain, asked = written(model, 4), written(model, Wanted(4, probabilities=True))
    assert {line["score_type"] for line in plain} == {"logit"}
    assert {line["score_type"] for line in asked} == {"probability"}
    for before, after in zip(plain, asked, strict=True):
        assert [label["id"] for label in before["labels"]] == [label["id"] for label in after["labels"]]
        logits = np.array([label["score"] for label in before["labels"]])
        found = [label["score"] for label in after["labels"]]
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=1e-4)
    extreme = probabilities(model, np.array([1e30, 90, 0, -90, -1e30, -np.inf], np.float32))
    np.testing.assert_allclose(extreme, [1, 1, 0.5, 0, 0, 0], atol=1e-30)


def test_the_threshold_counts_on_what_is_written():
    model = untrained(NAMES)
    for line in written(model, Wanted(4, probabilities=True, threshold=0.5)):
        assert all(label["score"] >= 0.5 for label in line["labels"])
    both = [
        [label["id"] for label in line["labels"]]
        for wanted in (Wanted(4, threshold=0.0), Wanted(4, probabilities=True, threshold=0.5))
        for line in written(model, wanted)
    ]
    assert both[: len(TEXTS)] == both[len(TEXTS) :]


def test_mixtures_are_squared_and_probabilities_stay():
    ensemble = Ensemble([untrained(NAMES), untrained(NAMES)])
    assert score_kind(ensemble) == "mixture"
    scores = ensemble.topk(TEXTS, 4).scores
    np.testing.assert_allclose(probabilities(ensemble, scores), scores**2)
    assert np.isneginf(probabilities(ensemble, np.array([-np.inf], np.float32)))[0]
    logits = untrained(NAMES).topk(TEXTS, 4).scores  # two equal parts, scores as they are
    np.testing.assert_allclose(scores**2, 1 / (1 + np.exp(-logits)), rtol=1e-4)


@pytest.mark.parametrize(
    ("head", "kind", "said"),
    [
        (
            DenseHead(4, 8, loss="squared_hinge"),
            "margin",
            "margins of a squared hinge.*megalabel calibrate RUN DATA",
        ),
        (SparseHead(4, 8, fan_in=2), "margin", "margins"),
        (DualEncoderHead(4, 8), "logit", "the logits of a softmax"),
        (SparseHead(4, 8, fan_in=2, loss="bce"), "logit", ""),
        (
            PartitionedHead([DenseHead(2, 8), SparseHead(2, 8, fan_in=2, reduction="sum")], torch.arange(4)),
            "margin",
            "margins",
        ),
        (PartitionedHead([DenseHead(2, 8), DenseHead(2, 8)], torch.arange(4)), "logit", ""),
    ],
    ids=["dense-hinge", "sparse-hinge", "dual-encoder", "sparse-bce", "mixed", "partitioned"],
)
def test_what_is_no_probability_is_refused(head, kind, said):
    model = with_head(head)
    assert score_kind(model) == kind
    scores = np.array([0.5, -0.5], np.float32)
    if not said:
        np.testing.assert_allclose(probabilities(model, scores), 1 / (1 + np.exp(-scores)), rtol=1e-6)
        return
    with pytest.raises(SettingError, match=said):
        probabilities(model, scores)
    with pytest.raises(SettingError, match=said):
        Wanted(1, probabilities=True).check(model)
