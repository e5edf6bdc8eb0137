"""Explanations: contributions sum to scores, strong words matter, and the way of a label is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bag_runs import KNOBS
from planted import planted
from untrained import of_bags

import megalabel
from megalabel.data.texts import Texts
from megalabel.encoders.transformer import Transformer
from megalabel.errors import MegalabelError
from megalabel.heads.dense import DenseHead
from megalabel.inputs.spans import without_words, words_of
from megalabel.models.ensemble import Ensemble
from megalabel.models.neural import NeuralClassifier
from megalabel.recipes import get

DATA = planted()
TEXTS = list(DATA.test.texts)
# What is given is not tried on held-out texts.
WORDS = {"token_pattern": "letters", "bigrams": "yes", "bigram_weight": 1.0, "char_ngrams": "no", "c": 1.0,
         "label_texts": "no"}  # fmt: skip


def trained(folder: Path) -> dict[str, object]:
    """A model of each kind on the planted data; that of Renée has a residual block."""
    found: dict[str, object] = {"folder": folder}
    of = {
        "linear": {**WORDS, "clusters": (4,), "trees": 2, "beam_size": 2, "char_ngrams": "yes"},
        "renee": {**KNOBS["renee"], "hidden_dim": 32},
        "cascadexml": KNOBS["cascadexml"],
        "retrieval": {},
    }
    for name, values in of.items():
        found[name] = megalabel.train(get(name)(DATA, **values), folder / name, device="cpu", quiet=True)
    solved = {**WORDS, "clusters": (4,), "trees": 1, "joint_trees": 1, "neighbors": "yes"}
    hybrid = get("hybrid")(DATA, run=str(folder / "renee"), **solved)
    found["hybrid"] = megalabel.train(hybrid, folder / "hybrid", device="cpu", quiet=True)
    found["ensemble"] = Ensemble([found["linear"], found["renee"]])
    return found


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("explained"))


def explained(model, text, label=None):
    found = model.explain(text, label)
    assert json.loads(json.dumps(found.as_json()))["name"] == model.label_texts[found.label]
    return found


@pytest.mark.parametrize("kind", ["linear", "renee", "cascadexml"])
def test_the_contributions_of_words_and_the_base_sum_to_the_score(kind, models):
    for text in TEXTS[:8]:
        for rank in (0, 3):
            ids, scores = models[kind].topk([text], 64).numpy()
            if ids[0, rank] < 0:
                continue
            found = explained(models[kind], text, int(ids[0, rank]))
            assert abs(found.error) <= 1e-6 * max(1, abs(found.value))
            value = np.exp(found.value) if found.scale == "log-probability" else found.value
            assert value == pytest.approx(float(scores[0, rank]), rel=2e-4, abs=1e-5)
            assert found.rank == rank + 1


@pytest.mark.parametrize("kind", ["hybrid", "ensemble"])
def test_words_and_rankers_of_a_mixture_sum_to_its_score(kind, models):
    for text in TEXTS[:5]:
        found = explained(models[kind], text)
        assert abs(found.error) <= 1e-6
        assert found.value == pytest.approx(found.score, abs=1e-4)
        assert sum(ranker.term for ranker in found.rankers) == pytest.approx(found.value, abs=1e-6)
        assert sum(ranker.share for ranker in found.rankers) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["linear", "renee", "cascadexml", "hybrid"])
def test_without_the_three_strongest_words_the_score_falls_more_than_without_three_others(kind, models, rng):
    model, better, n = models[kind], 0, 0
    for text in TEXTS[:40]:
        found = model.explain(text)
        words = words_of(text)
        if len(words) < 5 or not found.strongest(3):
            continue
        strong = [i for i, w in enumerate(words[:, 0].tolist()) if w in {s.start for s in found.strongest(3)}]
        others = rng.choice(len(words), size=len(strong), replace=False).tolist()
        scores = [score_of(model, without_words(text, words, drop), found.label) for drop in (strong, others)]
        better += scores[0] <= scores[1]
        n += 1
    assert n > 20
    assert better / n >= 0.9


def score_of(model, text, label):
    ids, scores = model.topk([text], len(model.label_texts)).numpy()
    return float(scores[0][ids[0] == label][0]) if label in ids[0] else -np.inf


def test_words_of_a_label_add_most_and_noise_adds_little(models):
    for kind in ("linear", "renee"):
        found = models[kind].explain(TEXTS[0])
        assert any(word.text in found.name.split() for word in found.strongest(2))


def test_the_nodes_of_linear_trees_sum_to_their_logits_exactly(models):
    found = models["linear"].explain(TEXTS[0])
    model = models["linear"]
    assert {node.part for node in found.nodes} == {"tree 1", "tree 2"}
    z = {}
    for node in found.nodes:
        assert node.logit == pytest.approx(node.bias + sum(node.words), abs=1e-9)
        assert len(node.words) == len(found.words)
        z.setdefault(node.part, []).append(np.exp(-(max(0, 1 - node.logit) ** 3)))
    assert np.mean([np.prod(p) for p in z.values()]) == pytest.approx(found.score, abs=1e-6)
    assert model.trees[0].post_processor == "l3-hinge"


def test_a_label_that_the_beam_drops_says_at_which_level(models):
    for kind in ("linear", "cascadexml"):
        model, said = models[kind], 0
        for text in TEXTS[:10]:
            ids = model.topk([text], len(model.label_texts)).numpy()[0][0]
            for label in set(range(len(model.label_texts))) - set(ids.tolist()):
                found = model.explain(text, label)
                assert found.rank is None and found.score is None and np.isfinite(found.value)
                assert any("at level" in line for line in found.why_not)
                said += 1
                break
            reached = model.explain(text, int(ids[0]))
            assert reached.rank == 1
            assert all(node.kept for node in reached.nodes) or kind == "linear"
        assert said or kind == "cascadexml"


def test_the_nearest_training_texts_come_with_models_that_have_them(models):
    for kind in ("hybrid", "retrieval"):
        found = models[kind].explain(TEXTS[0])
        assert found.neighbors and found.neighbors[0].has_label
        text = TEXTS[0].split()
        near = DATA.train.texts[found.neighbors[0].row] if found.neighbors[0].row >= 0 else ""
        assert near == "" or set(near.split()) & set(text)
    assert not models["linear"].explain(TEXTS[0]).neighbors


def test_integrated_gradients_of_a_transformer_are_complete_within_a_twentieth(tiny_bert, tmp_path):
    torch.manual_seed(0)
    encoder = Transformer.pretrained(str(tiny_bert)).eval()
    with torch.no_grad():
        encoder.model.get_input_embeddings().weight.mul_(20)
    head = DenseHead(5, encoder.dim, init_std=1.0, bias=True).eval()
    model = NeuralClassifier(encoder, head, Texts.from_strings([f"label {i}" for i in range(5)]), 32)
    for text in TEXTS[:4]:
        found = explained(model, text, 2)
        assert abs(found.error) <= 0.05 * abs(found.value - found.base)
        assert found.value == pytest.approx(score_of(model, text, 2), abs=1e-4)
        assert len(found.words) == len(text.split())


def test_a_text_without_known_words_is_explained_by_the_base_alone(models):
    for kind in ("linear", "renee", "hybrid", "retrieval"):
        for text in ("", "   ", "zzz yyy"):
            found = explained(models[kind], text, 2 if kind == "retrieval" else None)
            assert abs(found.error) <= 1e-6
    with pytest.raises(MegalabelError):  # the search finds no label that could be explained
        models["retrieval"].explain("zzz yyy")


def test_a_row_of_a_bag_of_words_is_explained_by_its_features():
    model, x = of_bags()
    found = model.explain(x[0], 0)
    assert [word.start for word in found.words] == x[0].indices.tolist()
    assert abs(found.error) <= 1e-6
    with pytest.raises(MegalabelError):
        model.explain(x[:2], 0)


@pytest.mark.parametrize("label", ["no such label", -1, 64, 1.5, True, ["w0a w0b"]])
def test_labels_that_are_none_are_refused(label, models):
    with pytest.raises(MegalabelError):
        models["linear"].explain(TEXTS[0], label)


@pytest.mark.parametrize("text", [["a list"], None, 3, b"bytes"])
def test_what_is_no_text_is_refused(text, models):
    with pytest.raises(MegalabelError):
        models["linear"].explain(text)


def test_the_command_explains_a_label_as_a_table_and_as_json(models, command):
    run = models["folder"] / "linear"
    name = models["linear"].label_texts[int(models["linear"].topk([TEXTS[0]], 1).ids[0, 0])]
    status, out, _ = command("explain", run, TEXTS[0])
    assert status == 0
    assert name in out
    status, out, _ = command("explain", run, TEXTS[0], "--label", name, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["rank"] == 1
    assert sum(w["contribution"] for w in found["words"]) + found["base"] == pytest.approx(found["value"])
    for wrong in (["--label", "nothing"], ["--label", ""], ["--label-id", "99"]):
        status, _, err = command("explain", run, TEXTS[0], *wrong)
        assert status == 2
        assert err.count("\n") == 1
