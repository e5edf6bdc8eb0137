"""Runs of `train`: what they learn, write and keep, and how their models answer."""

import json

import numpy as np
import pytest
import torch
from support.light_runs import LIGHT, SHORT

import megalabel
from megalabel.recipes.renee import renee
from megalabel.training.loop import resolve_precision


def test_the_planted_labels_are_learnt(data, finished):
    _, model = finished
    found = megalabel.evaluate(model, data)
    assert found["P@1"] > 95
    assert found["PSP@5"] > 90


def test_a_run_folder_explains_itself(finished):
    out, _ = finished
    assert sorted(p.name for p in out.iterdir()) == ["held_out.npy", "log.jsonl", "model", "recipe.json"]
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["recipe"] == "renee"
    assert recipe["arguments"]["epochs"] == 12
    assert recipe["arguments"]["head_momentum"] == 0.9
    assert recipe["finished"]["steps"] == 12 * 14
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0] / 4
    validations = [line["validation"]["P@1"] for line in lines if "validation" in line]
    assert len(validations) == 12


def test_a_saved_model_answers_as_the_one_in_memory(finished, data):
    out, model = finished
    for folder in (out, out / "model"):
        again = megalabel.load(folder)
        ours, theirs = (m.topk(data.test.texts, 5).numpy() for m in (model, again))
        assert np.array_equal(ours[0], theirs[0])
        assert np.array_equal(ours[1], theirs[1])
    assert again.predict(["w3a w3b"], 1)[0][0][0] == "w3a w3b"


def test_topk_leaves_out_what_it_is_told_to(finished, data):
    _, model = finished
    texts = list(data.test.texts)
    first = model.topk(texts, 1).ids[:, 0]
    pairs = np.stack([np.arange(len(texts)), first], 1)
    labels = model.topk(texts, 3, exclude=pairs).ids
    assert not (labels == first[:, None]).any()
    assert np.array_equal(labels[:, :2], model.topk(texts, 3).ids[:, 1:])


def test_more_labels_than_there_are_end_in_nothing(finished):
    _, model = finished
    top = model.topk(["w1a"], 70)
    assert (top.ids[0, :64] >= 0).all()
    assert (top.ids[0, 64:] == -1).all()
    assert np.isneginf(top.scores[0, 64:]).all()


def test_empty_input_has_answers_too(finished):
    _, model = finished
    assert model.topk([], 3).ids.shape == (0, 3)
    assert model.topk(["", "\u2028", "\ud800"], 3).ids.shape == (3, 3)
    assert model.encode(["a", ""]).shape == (2, 1, 256)


def test_the_same_seed_gives_the_same_weights(data, tmp_path):
    short = {**LIGHT, "epochs": 2}
    models = [
        megalabel.train(renee(data, **short, seed=s), tmp_path / str(i), quiet=True)
        for i, s in enumerate((1, 1, 2))
    ]
    assert torch.equal(models[0].head.weight, models[1].head.weight)
    assert not torch.equal(models[0].head.weight, models[2].head.weight)


def test_patience_ends_a_run_and_the_best_model_is_kept(data, tmp_path):
    stuck = {**LIGHT, "epochs": 30, "head_lr": 1e-9, "encoder_lr": 1e-9, "token_lr": 1e-9, "patience": 2}
    megalabel.train(renee(data, **stuck), tmp_path / "r", quiet=True)
    facts = json.loads((tmp_path / "r" / "recipe.json").read_text())["finished"]
    assert facts["steps"] == 3 * 14


def test_without_validation_the_last_model_is_kept(data, tmp_path):
    model = megalabel.train(
        renee(data, **{**LIGHT, "epochs": 1}, validation_fraction=0.0), tmp_path / "r", quiet=True
    )
    again = megalabel.load(tmp_path / "r")
    assert torch.equal(model.head.weight, again.head.weight)


@pytest.mark.parametrize("head", ["sgd", "adamw"])
def test_micro_batches_change_nothing_but_rounding(data, tmp_path, head):
    settled = dict(
        encoder="bag", tokenizer="words", max_length=16, epochs=2, batch_size=48, warmup=0.1, dropout=0.0,
        head_optimizer=head, head_lr=0.005, encoder_lr=1e-3, validation_fraction=0.0,
    )  # fmt: skip
    weights = []
    for parts in (1, 3):
        out = tmp_path / f"{head}{parts}"
        weights.append(
            megalabel.train(renee(data, **settled, accumulation_steps=parts), out, quiet=True).head.weight
        )
    torch.testing.assert_close(*weights, rtol=1e-2, atol=2e-4)


def test_a_pretrained_transformer_trains_end_to_end(data, tiny_bert, tmp_path):
    model = megalabel.train(
        renee(
            data, encoder=str(tiny_bert), max_length=16, epochs=2, batch_size=64, warmup=0.1, dropout=0.1,
            encoder_lr=1e-3, head_lr=0.02, bottleneck=16, gradient_checkpointing=True,
        ),
        tmp_path / "r",
        quiet=True,
    )  # fmt: skip
    before = model.topk(data.test.texts, 3).numpy()
    after = megalabel.load(tmp_path / "r").topk(data.test.texts, 3).numpy()
    assert np.array_equal(before[0], after[0])


def test_a_frozen_encoder_is_cached_and_stays(data, tiny_bert, tmp_path):
    recipe = renee(
        data, encoder=str(tiny_bert), frozen=True, hidden_dim=32, max_length=16, epochs=3, batch_size=64,
        warmup=0.1, dropout=0.1, encoder_lr=1e-3, head_lr=0.02, validation_fraction=0.0,
    )  # fmt: skip
    before = {k: v.clone() for k, v in recipe.encoder.inside.state_dict().items()}
    model = megalabel.train(recipe, tmp_path / "r", quiet=True)
    assert all(torch.equal(before[k], v) for k, v in recipe.encoder.inside.state_dict().items())
    assert recipe.encoder.cache.shape == (400 + 64, 1, 32)
    top = megalabel.load(tmp_path / "r").topk(data.test.texts, 3)
    assert np.array_equal(top.ids, model.topk(data.test.texts, 3).ids)


@pytest.mark.parametrize(("units", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_a_cpu_without_bfloat16_units_never_takes_it(monkeypatch, units, dtype):
    for name in ("amx_bf16", "avx512_bf16"):
        known = {"amx_bf16": False, "avx512_bf16": False, name: units}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known, raising=False)
        assert resolve_precision("auto", torch.device("cpu")) is dtype
    assert resolve_precision("bfloat16", torch.device("cpu")) is torch.bfloat16
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert resolve_precision("auto", torch.device("cpu")) is torch.float32


def test_half_precision_trains_with_split_loss_scaling(data, tiny_bert, tmp_path):
    for precision in ("bfloat16", "float16"):
        recipe = renee(
            data, encoder=str(tiny_bert), max_length=8, epochs=1, batch_size=64, warmup=0.1, dropout=0.0,
            encoder_lr=1e-3, head_lr=0.01, precision=precision, validation_fraction=0.0, log_every=1,
        )  # fmt: skip
        megalabel.train(recipe, tmp_path / precision, quiet=True)
        lines = [json.loads(line) for line in (tmp_path / precision / "log.jsonl").read_text().splitlines()]
        losses = [line["loss"] for line in lines if "loss" in line]
        assert np.isfinite(losses).all()
        assert losses[-1] < losses[0]


@pytest.mark.parametrize("metric", ["PSP@5", "PSnDCG@2", "P@10", "R@100"])
def test_any_metric_at_any_depth_chooses_the_best_epoch(data, metric, tmp_path):
    out = tmp_path / "r"
    megalabel.train(renee(data, **{**LIGHT, "epochs": 2, "selection_metric": metric}), out, quiet=True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    found = [line["validation"] for line in lines if "validation" in line]
    assert len(found) == 2
    assert all(metric in values for values in found)


def test_a_blank_label_name_is_no_training_text():
    corpus = megalabel.Corpus.of(["a", "b"], [[0, 1], [2]], ["one", " ", ""])
    recipe = renee(corpus, **{**LIGHT, "validation_fraction": 0.0})
    assert len(recipe.batches.rows) == 2 + 1


def test_names_with_a_line_separator_are_kept(tmp_path):
    corpus = megalabel.Corpus.of(["a b", "b c"], [["x\u2029z"], ["y\u2028"]])
    megalabel.train(
        renee(corpus, **{**LIGHT, "epochs": 1, "validation_fraction": 0.0}), tmp_path / "r", quiet=True
    )
    assert list(megalabel.load(tmp_path / "r").label_texts) == ["x\u2029z", "y\u2028"]


def test_clipping_works_with_token_vectors_of_sparse_gradients(data, tmp_path):
    model = megalabel.train(renee(data, **{**SHORT, "max_grad_norm": 0.1}), tmp_path / "r", quiet=True)
    assert torch.isfinite(model.head.weight).all()
