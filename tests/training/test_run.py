import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.recipes.renee import renee
from megalabel.training.log import Log
from megalabel.training.loop import resolve_precision

LIGHT = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=12, batch_size=32, warmup=0.1, dropout=0.1,
    bias=True, head_optimizer="adamw", head_lr=0.02, head_init_std=0.0, encoder_lr=0.002, token_lr=0.02,
)  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "r"
    return out, megalabel.train(renee(data, **LIGHT), out, quiet=True)


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


def test_what_cannot_be_right_is_refused_before_training(data, tmp_path, tiny_bert):
    wrong = [
        (dict(epochs=0), "epochs: 0"),
        (dict(batch_size=0), "batch_size: 0"),
        (dict(validation_fraction=1.5), "validation_fraction: 1.5"),
        (dict(warmup=1e6), "warm-up"),
        (dict(max_length=0), "max_length: 0"),
        (dict(head_optimizer="adam"), "head_optimizer"),
        (dict(tokenizer="bytes"), "tokenizer: 'bytes'"),
        (dict(encoder="no/such-encoder", tokenizer="wordpiece"), "no encoder"),
        (dict(encoder=str(tiny_bert)), "tokenizer = 'words'"),
        (dict(frozen=True), "frozen"),
        (dict(no_such=1), "no option 'no_such'"),
    ]
    for change, said in wrong:
        with pytest.raises(SettingError, match=said):
            renee(data, **{**LIGHT, **change})
    with pytest.raises(SettingError, match="precision: 'int8'"):
        megalabel.train(renee(data, **{**LIGHT, "epochs": 1}, precision="int8"), tmp_path / "p", quiet=True)
    with pytest.raises(SettingError, match="selection_metric: 'accuracy'"):
        megalabel.train(
            renee(data, **{**LIGHT, "epochs": 1}, selection_metric="accuracy"), tmp_path / "s", quiet=True
        )


def test_a_finished_run_of_the_same_recipe_is_loaded_and_of_another_refused(data, finished):
    out, model = finished
    before = (out / "recipe.json").read_bytes()
    again = megalabel.train(renee(data, **LIGHT), out, quiet=True)
    assert torch.equal(again.head.weight, model.head.weight)
    assert again.topk(["w3a w3b"], 3).numpy()[0].tolist() == model.topk(["w3a w3b"], 3).numpy()[0].tolist()
    with pytest.raises(SettingError, match="the finished run in"):
        megalabel.train(renee(data, **{**LIGHT, "epochs": 1}), out, quiet=True)
    assert (out / "recipe.json").read_bytes() == before


def test_a_run_folder_is_never_written_over(data, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(SettingError, match="holds other things"):
        megalabel.train(renee(data, **LIGHT), tmp_path / "mine", quiet=True)


def test_an_unfinished_run_goes_on_only_as_it_began(data, finished, tmp_path):
    out, _ = finished
    facts = json.loads((out / "recipe.json").read_text())
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "recipe.json").write_text(json.dumps({**facts, "finished": None}))
    with pytest.raises(SettingError, match="epochs = 12 and not 13"):
        megalabel.train(renee(data, **{**LIGHT, "epochs": 13}), tmp_path / "r", quiet=True)


def test_a_damaged_model_is_refused(finished, tmp_path):
    import shutil

    out, _ = finished
    shutil.copytree(out, tmp_path / "r")
    head = tmp_path / "r" / "model" / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(FormatError, match=r"head\.safetensors"):
        megalabel.load(tmp_path / "r")
    head.unlink()
    with pytest.raises(FormatError, match=r"head\.safetensors"):
        megalabel.load(tmp_path / "r")
    with pytest.raises(FormatError, match="missing"):
        megalabel.load(tmp_path / "nothing")


def test_code_from_elsewhere_is_not_run(finished, tmp_path):
    import shutil

    out, _ = finished
    shutil.copytree(out / "model", tmp_path / "m")
    path = tmp_path / "m" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["head"]["class"] = "subprocess:Popen"
    path.write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match="code that is not megalabel's"):
        megalabel.load(tmp_path / "m")
    with pytest.raises(FormatError, match="is no Head"):
        megalabel.load(tmp_path / "m", trust=["subprocess"])


@pytest.mark.parametrize(("units", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_a_cpu_without_bfloat16_units_never_takes_it(monkeypatch, units, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": units}, raising=False)
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


def test_a_setting_that_is_refused_leaves_no_folder_behind(data, tmp_path):
    out, light = tmp_path / "r", {**LIGHT, "epochs": 1}
    bare = megalabel.Corpus.of(["a"] * 40, [[0]] + [[]] * 39, ["x", "y"])
    (tmp_path / "file").write_text("x")
    for corpus, change, place, settings, said in (
        (data, dict(precision="int8"), out, {}, "precision: 'int8'"),
        (data, dict(selection_metric="P@7x"), out, {}, "selection_metric: 'P@7x'"),
        (bare, dict(seed=3), out, {}, "none of the 2 texts held out"),
        (data, {}, out, dict(device="gpu"), "device 'gpu'"),
        (data, {}, out, dict(device="meta"), "device 'meta'"),
        (data, {}, out, dict(checkpoint_seconds=float("nan")), "checkpoint_seconds = nan"),
        (data, {}, out, dict(checkpoint_steps=0), "checkpoint_steps = 0"),
        (data, {}, out, dict(validate_epochs=0.0), "validate_epochs = 0"),
        (data, {}, tmp_path / "file", {}, "is a file"),
    ):
        with pytest.raises(SettingError, match=said):
            megalabel.train(renee(corpus, **{**light, **change}), place, quiet=True, **settings)
        assert not out.exists()


@pytest.mark.parametrize("metric", ["PSP@5", "PSnDCG@2", "P@10", "R@100"])
def test_any_metric_at_any_depth_chooses_the_best_epoch(data, metric, tmp_path):
    out = tmp_path / "r"
    megalabel.train(renee(data, **{**LIGHT, "epochs": 2, "selection_metric": metric}), out, quiet=True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    found = [line["validation"] for line in lines if "validation" in line]
    assert len(found) == 2
    assert all(metric in values for values in found)


def test_bags_of_words_are_refused_before_anything_is_made(tmp_path):
    (tmp_path / "bow.txt").write_text("3 3 2\n0 0:1 1:2\n1 1:1\n0 2:1\n")
    with pytest.raises(DataError, match="bags of words"):
        renee(megalabel.Corpus.open(tmp_path / "bow.txt"), **LIGHT)


def test_a_blank_label_name_is_no_training_text():
    corpus = megalabel.Corpus.of(["a", "b"], [[0, 1], [2]], ["one", " ", ""])
    recipe = renee(corpus, **{**LIGHT, "validation_fraction": 0.0})
    assert len(recipe.batches.rows) == 2 + 1


def test_names_with_half_a_surrogate_pair_are_kept(tmp_path):
    corpus = megalabel.Corpus.of(["a b", "b c"], [["x\ud800"], ["y\u2028"]])
    megalabel.train(
        renee(corpus, **{**LIGHT, "epochs": 1, "validation_fraction": 0.0}), tmp_path / "r", quiet=True
    )
    assert list(megalabel.load(tmp_path / "r").label_texts) == ["x\ud800", "y\u2028"]


def test_a_model_takes_no_other_folders_place(finished, tmp_path):
    _, model = finished
    (tmp_path / "thesis.txt").write_text("x")
    for place in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(SettingError, match="not a model"):
            model.save(place)
    assert (tmp_path / "thesis.txt").read_text() == "x"
    for _ in range(2):
        model.save(tmp_path / "m")
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["m", "thesis.txt"]


def test_a_folder_of_another_kind_is_no_model(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": 1, "sha256": {}}')
    with pytest.raises(FormatError, match="not that of a model"):
        megalabel.load(tmp_path)


class Killed(Exception):
    pass


def cut_off(monkeypatch, data, out, step, arguments):
    """A run that ends without a word behind a step."""
    told = Log.step

    def step_or_end(self, number, *rest):
        told(self, number, *rest)
        if number == step:
            raise Killed

    monkeypatch.setattr(Log, "step", step_or_end)
    with pytest.raises(Killed):
        megalabel.train(renee(data, **arguments), out, checkpoint_steps=3, quiet=True)
    monkeypatch.setattr(Log, "step", told)


SHORT = {**LIGHT, "epochs": 1, "log_every": 1, "validation_fraction": 0.0}


@pytest.mark.parametrize("step", [1, 4])  # before the first checkpoint, and after
def test_a_run_that_goes_on_logs_every_step_once_and_leaves_nothing_behind(monkeypatch, data, tmp_path, step):
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, step, SHORT)
    (out / ".model.new-99999").mkdir()
    megalabel.train(renee(data, **SHORT), out, quiet=True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(steps[-1] + 1))
    assert sorted(p.name for p in out.iterdir()) == ["held_out.npy", "log.jsonl", "model", "recipe.json"]


def test_a_run_goes_on_with_the_same_data_only_wherever_it_lies(monkeypatch, data, tmp_path):
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, 4, SHORT)
    with pytest.raises(SettingError, match="fingerprint"):
        megalabel.train(renee(planted(seed=1), **SHORT), out, quiet=True)
    moved = replace(data, path=tmp_path)
    megalabel.train(renee(moved, **SHORT), out, quiet=True)
    assert json.loads((out / "recipe.json").read_text())["finished"]


def test_a_checkpoint_without_its_run_is_not_taken_up(monkeypatch, data, tmp_path):
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, 4, SHORT)
    (out / "recipe.json").unlink()
    with pytest.raises(SettingError, match="holds other things"):
        megalabel.train(renee(data, **SHORT), out, quiet=True)


def test_a_damaged_checkpoint_is_refused_with_the_way_out(monkeypatch, data, tmp_path):
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, 4, SHORT)
    state = next((out / "last").glob("step-*")) / "state.json"
    weights = state.with_name("head.safetensors")
    for path, content in ((weights, weights.read_bytes()[:-3]), (state, b'{"format": 1}'), (state, b"{")):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="Delete the folder `last`"):
            megalabel.train(renee(data, **SHORT), out, quiet=True)


def test_clipping_works_with_token_vectors_of_sparse_gradients(data, tmp_path):
    model = megalabel.train(renee(data, **{**SHORT, "max_grad_norm": 0.1}), tmp_path / "r", quiet=True)
    assert torch.isfinite(model.head.weight).all()
