"""What a run refuses: settings, folders and files that cannot be right."""

import json

import pytest
import torch
from support.light_runs import LIGHT
from support.manifests import edited

import megalabel
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.recipes.renee import renee


def test_what_cannot_be_right_is_refused_before_training(data, tmp_path, tiny_bert):
    wrong = [
        (dict(epochs=0), "epochs: 0"),
        (dict(batch_size=0), "batch_size: 0"),
        (dict(validation_fraction=1.5), "validation_fraction: 1.5"),
        (dict(warmup=1e6), "warm-up"),
        (dict(max_length=-1), "max_length: -1"),
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
    with pytest.raises(SettingError, match="contains other files"):
        megalabel.train(renee(data, **LIGHT), tmp_path / "mine", quiet=True)


def test_an_unfinished_run_goes_on_only_as_it_began(data, finished, tmp_path):
    out, _ = finished
    facts = json.loads((out / "recipe.json").read_text())
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "recipe.json").write_text(json.dumps({**facts, "finished": None}))
    with pytest.raises(SettingError, match="epochs = 12, not 13"):
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
    with pytest.raises(FormatError, match="no such folder"):
        megalabel.load(tmp_path / "nothing")


def test_code_from_elsewhere_is_not_run(finished, tmp_path):
    import shutil

    out, _ = finished
    shutil.copytree(out / "model", tmp_path / "m")
    with edited(tmp_path / "m") as manifest:
        manifest["head"]["class"] = "subprocess:Popen"
    with pytest.raises(FormatError, match="not part of megalabel"):
        megalabel.load(tmp_path / "m")
    with pytest.raises(FormatError, match="is not a Head"):
        megalabel.load(tmp_path / "m", trust=["subprocess"])


def test_a_setting_that_is_refused_leaves_no_folder_behind(data, tmp_path):
    out, light = tmp_path / "r", {**LIGHT, "epochs": 1}
    bare = megalabel.Corpus.of(["a"] * 40, [[0]] + [[]] * 39, ["x", "y"])
    (tmp_path / "file").write_text("x")
    for corpus, change, place, settings, said in (
        (data, dict(precision="int8"), out, {}, "precision: 'int8'"),
        (data, dict(selection_metric="P@7x"), out, {}, "selection_metric: 'P@7x'"),
        (bare, dict(seed=3), out, {}, "none of the 2 texts held out"),
        (data, {}, out, dict(device="gpu"), "device: 'gpu'"),
        (data, {}, out, dict(device="meta"), "device: 'meta'"),
        (data, {}, out, dict(checkpoint_seconds=float("nan")), "checkpoint_seconds = nan"),
        (data, {}, out, dict(checkpoint_steps=0), "checkpoint_steps = 0"),
        (data, {}, out, dict(validate_epochs=0.0), "validate_epochs = 0"),
        (data, {}, tmp_path / "file", {}, "is a file"),
    ):
        with pytest.raises(SettingError, match=said):
            megalabel.train(renee(corpus, **{**light, **change}), place, quiet=True, **settings)
        assert not out.exists()


def test_bags_of_words_are_refused_before_anything_is_made(tmp_path):
    (tmp_path / "bow.txt").write_text("3 3 2\n0 0:1 1:2\n1 1:1\n0 2:1\n")
    with pytest.raises(DataError, match="bags of words"):
        renee(megalabel.Corpus.open(tmp_path / "bow.txt"), **LIGHT)


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
    with pytest.raises(FormatError, match=r"not (one|that) of a model"):
        megalabel.load(tmp_path)
