"""`--encoder RUN`: another run starts from the weights and the tokenizer of a finished one."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from bag_runs import KNOBS
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import MegalabelError, SettingError
from megalabel.recipes import get
from megalabel.recipes.presets import resolve
from megalabel.recipes.run_encoder import is_run, plain_name, run_sha256

BAG = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=3, batch_size=32, encoder_lr=0.005, token_lr=0.02,
    warmup=0.1, bigram_min_count=2, hidden_dim=24, doublings=(1,), refresh_every=1, validation_fraction=0.0,
)  # fmt: skip
CLASSIFIERS = ("renee", "cascadexml", "spartex", "lightxml", "dexml", "ngame")
NOT_FOR_A_RUN = ("tokenizer", "bigram_min_count", "hidden_dim")


def knobs(recipe: str) -> dict:
    values = BAG if recipe == "ngame" else KNOBS.get(recipe, {"max_length": 16, "batch_size": 32, "epochs": 3})
    return {k: v for k, v in values.items() if k not in NOT_FOR_A_RUN}


@pytest.fixture(scope="module")
def ngame_run(tmp_path_factory):
    """The folder of a finished run of ngame with a bag; not to be written to."""
    out = tmp_path_factory.mktemp("ngame") / "run"
    megalabel.train(get("ngame")(planted(), **BAG), out, device="cpu", quiet=True)
    return out


@pytest.fixture(scope="module")
def bert_run(tmp_path_factory, tiny_bert):
    """The same with a transformer, pooled by its mean, through CachedGradients."""
    out = tmp_path_factory.mktemp("ngame-bert") / "run"
    values = {k: v for k, v in BAG.items() if k not in (*NOT_FOR_A_RUN, "token_lr")}
    values |= {"encoder": str(tiny_bert), "epochs": 1, "accumulation_steps": 2}
    megalabel.train(get("ngame")(planted(), **values), out, device="cpu", quiet=True)
    return out


@pytest.mark.parametrize("recipe", CLASSIFIERS)
def test_every_recipe_starts_from_the_weights_of_a_bag(recipe, ngame_run):
    source = megalabel.load(ngame_run).encoder
    encoder = get(recipe)(planted(), **{**knobs(recipe), "encoder": str(ngame_run)}).encoder
    assert encoder.tokenizer.sha256 == source.tokenizer.sha256
    for name in ("table.weight", "bigrams", "weights", "norm.weight"):
        assert torch.equal(encoder.state_dict()[name], source.state_dict()[name]), name
    for block in encoder.blocks:
        for name, tensor in block.state_dict().items():
            assert torch.equal(tensor, source.blocks[-1].state_dict()[name])
    assert all(p.requires_grad for p in encoder.parameters())
    tokens = torch.tensor([[3, 4, 5]])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    with torch.no_grad():
        assert torch.equal(encoder.eval()(tokens, mask)[:, -1], source.eval()(tokens, mask)[:, -1])


@pytest.mark.parametrize("recipe", CLASSIFIERS)
def test_every_recipe_starts_from_the_weights_and_the_pooling_of_a_transformer(recipe, bert_run):
    source = megalabel.load(bert_run).encoder
    values = {k: v for k, v in knobs(recipe).items() if k != "token_lr"}
    if recipe == "cascadexml":
        values |= {"clusters": (8,), "beams": (3,), "level_dropout": (0.1, 0.1), "layers": (1.0, 1.0, 1.0)}
    if recipe in ("lightxml", "spartex"):
        values["last_layers"] = 2
    encoder = get(recipe)(planted(), **{**values, "encoder": str(bert_run)}).encoder
    assert encoder.readouts[-1].pooling == "mean"
    for name, tensor in source.model.state_dict().items():
        assert torch.equal(encoder.model.state_dict()[name], tensor), name


@pytest.mark.parametrize("start", ["run", "model"])
def test_a_run_that_starts_from_a_run_resumes_and_loads(start, ngame_run, tmp_path):
    name = str(ngame_run if start == "run" else ngame_run / "model")
    values = {**knobs("renee"), "encoder": name, "epochs": 2}
    model = megalabel.train(get("renee")(planted(), **values), tmp_path / "r", device="cpu", quiet=True)
    assert megalabel.evaluate(model, planted())["P@1"] > 90
    facts = json.loads((tmp_path / "r" / "recipe.json").read_text())
    assert facts["encoder_sha256"] == run_sha256(name) and len(facts["encoder_sha256"]) == 64
    again = megalabel.train(get("renee")(planted(), **values), tmp_path / "r", device="cpu", quiet=True)
    assert (again.topk(["w1a w1b"], 3).ids == model.topk(["w1a w1b"], 3).ids).all()


def test_a_changed_run_is_refused_when_training_goes_on(ngame_run, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(ngame_run, start)
    values = {**knobs("renee"), "encoder": str(start), "epochs": 2}

    class Stop(Exception):
        pass

    def stop(line):
        raise Stop

    recipe = get("renee")(planted(), **values, log_every=1)
    with pytest.raises(Stop):
        megalabel.train(recipe, tmp_path / "r", device="cpu", checkpoint_steps=1, quiet=True, callback=stop)
    shutil.rmtree(start)
    other = {**BAG, "seed": 1, "epochs": 1}
    megalabel.train(get("ngame")(planted(), **other), start, device="cpu", quiet=True)
    with pytest.raises(SettingError, match="begun with another encoder"):
        megalabel.train(get("renee")(planted(), **values, log_every=1), tmp_path / "r", device="cpu", quiet=True)


def test_the_note_says_where_the_weights_come_from_and_that_the_data_are_others(ngame_run):
    same = get("renee")(planted(), **{**knobs("renee"), "encoder": str(ngame_run)})
    assert same.encoder.notes == (f"encoder: weights and tokenizer of {ngame_run} (ngame on planted)",)
    texts = [f"w{i}a w{i}b" for i in range(40)]
    other = Corpus.of(texts, [[i % 4] for i in range(40)], ["a", "b", "c", "d"], name="other")
    moved = get("renee")(other, **{**knobs("renee"), "encoder": str(ngame_run)})
    assert "this is other data: other, 40 texts, 4 labels" in moved.encoder.notes[0]


def test_presets_are_those_of_the_encoder_that_the_run_began_with(ngame_run):
    recipe = get("renee")
    by_run, by_name = (resolve(recipe, "wordnet-4k", {"encoder": name}) for name in (str(ngame_run), "bag"))
    assert by_run.preset is not None and by_run.preset == by_name.preset
    assert "bigram_min_count" not in by_run.taken and "bigram_min_count" in by_name.taken
    assert plain_name(str(ngame_run)) == plain_name(str(ngame_run / "model")) == "bag"
    assert plain_name("minilm") == "minilm" and not is_run("minilm") and run_sha256("minilm") == ""


def test_a_frozen_encoder_may_be_the_bag_of_a_run(ngame_run, tmp_path):
    values = {**knobs("renee"), "encoder": str(ngame_run), "epochs": 2, "frozen": True}
    model = megalabel.train(get("renee")(planted(), **values), tmp_path / "r", device="cpu", quiet=True)
    source = megalabel.load(ngame_run).encoder
    assert torch.equal(model.encoder.inside.table.weight, source.table.weight)
    with pytest.raises(SettingError, match="frozen encoder"):
        get("renee")(planted(), **{**values, "encoder": str(tmp_path / "r"), "frozen": False})


def test_runs_without_an_encoder_and_unfinished_ones_are_refused(ngame_run, tmp_path):
    def refusal(name, **more) -> SettingError:
        with pytest.raises(MegalabelError) as caught:
            get("renee")(planted(), **{**knobs("renee"), "encoder": str(name), **more})
        assert isinstance(caught.value, SettingError)
        return caught.value

    megalabel.train(get("linear")(planted(), clusters=(4,), trees=1), tmp_path / "linear", quiet=True)
    assert "no single encoder" in refusal(tmp_path / "linear").found
    unfinished = tmp_path / "unfinished"
    shutil.copytree(ngame_run, unfinished)
    facts = json.loads((unfinished / "recipe.json").read_text())
    (unfinished / "recipe.json").write_text(json.dumps({**facts, "finished": None}))
    error = refusal(unfinished)
    assert "not finished" in error.found and error.where == "encoder"
    assert refusal(ngame_run, tokenizer="words").next_step
    assert refusal(ngame_run, encoder_weights="x.pt").where == "encoder_weights"
    assert refusal(ngame_run, windows=2).where == "windows"
