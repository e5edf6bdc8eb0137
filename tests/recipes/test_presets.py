"""How a preset is found, and how its values, those of the user and the defaults combine."""

import dataclasses
import json
from pathlib import Path

import pytest
from support.preset_names import all_presets, find, named

from megalabel.errors import SettingError
from megalabel.recipes import from_preset, get, names
from megalabel.recipes.presets import ANY, resolve, taken
from megalabel.recipes.presets import find as find_for
from megalabel.storage.migrate import migrate_arguments, with_added

OPEN_TODAY = {
    "token_pattern", "bigrams", "bigram_weight", "char_ngrams", "char_ngram_lengths", "char_ngrams_max_words", "c",
}  # fmt: skip


@pytest.mark.parametrize("preset", all_presets(), ids=named)
def test_a_preset_is_values_of_options_of_its_recipe(preset):
    assert preset.recipe in names()
    options = get(preset.recipe).options
    more = {"run": "runs/x"} if preset.recipe == "hybrid" else {}
    made = options.from_values({**preset.arguments, **more})
    for key, value in preset.arguments.items():
        assert getattr(made, key) == (tuple(value) if isinstance(value, list) else value)
        assert type(value) in (options.declared[key].kind, int, list)
    assert preset.encoder and preset.origin and preset.sets


@pytest.mark.parametrize("preset", [p for p in all_presets() if p.recipe == "cascadexml"], ids=named)
def test_a_number_for_every_level_of_the_tree(preset):
    a = preset.arguments
    if "beams" in a:  # then the clusters must be given too: those chosen by number of labels may be more or fewer
        assert len(a["beams"]) == len(a["clusters"]) == len(a["level_dropout"]) - 1
        assert all(beam <= n for beam, n in zip(a["beams"], a["clusters"], strict=True))


def test_a_tree_of_ones_own_takes_nothing_that_was_for_anothers_levels():
    preset = find("cascadexml", "wordnet", "bag")
    assert {"clusters", "beams", "level_dropout"} <= preset.arguments.keys()
    for given in ({"tree": "trees/mine"}, {"clusters": "512"}):
        assert not {"clusters", "beams", "level_dropout"} & taken(preset, given).keys()
        assert taken(preset, given)["head_lr"] == preset.arguments["head_lr"]
    assert taken(preset, {"epochs": 3}) == {k: v for k, v in preset.arguments.items() if k != "epochs"}
    assert taken(None, {}) == {}


def test_names_match_whatever_their_case():
    assert find("renee", "lf-amazontitles-131k") is find("renee", "LF-AmazonTitles-131K")
    assert find("renee", "AMAZON-3M") is not find("renee", "AMAZONTITLES-3M")


MINE = """
from megalabel.recipes.options import NeuralOptions
from megalabel.training.recipe import recipe

class Mine(NeuralOptions):
    encoder = "x"

@recipe
def mine(corpus, options: Mine):
    raise NotImplementedError
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A recipe in a module outside megalabel, and the folder of the module."""
    module = f"mine_{abs(hash(tmp_path))}"  # of its own in each test: modules are imported once
    (tmp_path / f"{module}.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    return get(f"{module}:mine", trust=[module]), tmp_path


def test_the_first_entry_that_fits_is_taken(mine):
    recipe, folder = mine
    entries = [("A", "x", 1), ("a", "y", 2), ("A", "x", 3), (ANY, "z", 4), (ANY, "x", 5)]
    lines = [f'[[preset]]\nsets = ["{s}"]\norigin = "{o}"\nencoder = "{e}"\n' for s, e, o in entries]
    (folder / "mine.toml").write_text("\n".join(lines))

    def found(*arguments: str) -> str | None:
        preset = find_for(recipe, *arguments)
        return preset and preset.origin

    assert [found("a"), found("A", "y"), found("A", "z"), found("B"), found("B", "x")] == ["1", "2", "4", "4", "5"]
    assert found("A", "nothing") is None
    assert resolve(recipe, "B", {}).options.encoder == "z"
    assert resolve(recipe, "B", {"encoder": "nothing"}).preset is None


@pytest.mark.parametrize("text", ["sets = [", "[[preset]]\nepochs = 3\n", "preset = 3\n", "[[preset]]\nsets = 3"])
def test_a_file_that_is_no_table_of_presets_is_refused(text, mine):
    recipe, folder = mine
    (folder / "mine.toml").write_text(text)
    with pytest.raises(SettingError) as refused:
        find_for(recipe, "B")
    assert refused.value.where == "presets"


def test_any_other_set_takes_the_general_one_which_needs_no_download():
    preset = find("renee", "a-set-of-your-own")
    assert ANY in preset.sets
    assert preset.encoder in ("bag", "small")
    assert preset.arguments["warmup"] < 1  # a share, since the number of steps is not known
    assert preset.arguments["validation_fraction"] > 0


def test_named_sets_come_before_the_general_one_and_nothing_is_hidden():
    """An entry behind one that fits as well would never be taken."""
    for preset in all_presets():
        for name in preset.sets:
            assert find(preset.recipe, "some-other-set" if name == ANY else name, preset.encoder) is preset


@pytest.mark.parametrize("data", ["bundled:wordnet-4k", None], ids=str)
def test_what_is_no_corpus_is_refused(data):
    for build in (lambda: from_preset("linear", data), lambda: get("linear")(data)):
        with pytest.raises(SettingError) as refused:
            build()
        assert refused.value.where == "data"


def test_values_of_the_user_precede_the_preset_which_precedes_the_defaults():
    renee = get("renee")
    preset = find("renee", "wordnet-4k", "bag")
    resolved = resolve(renee, "WordNet-4k", {"encoder": "bag", "epochs": 3})
    assert resolved.preset is preset
    assert "epochs" in preset.arguments and "epochs" not in resolved.taken
    assert resolved.options == dataclasses.replace(
        renee.options.from_values({**preset.arguments, "encoder": "bag"}), epochs=3
    )
    assert resolve(get("spartex"), "wordnet-4k", {"encoder": "of-no-preset"}).preset is None


def test_arguments_of_version_0_1_0_are_the_presets_of_today():
    """What 0.1.0 recorded in recipe.json for the bundled data, with the presets of its day."""
    stored = json.loads(Path(__file__).with_name("arguments_0_1_0.json").read_text())
    assert stored.keys() <= set(names())
    for name, old in stored.items():
        more = {"run": "runs/x"} if name == "hybrid" else {}
        encoder = {"encoder": old["encoder"]} if "encoder" in old else {}
        today = resolve(get(name), "wordnet-4k", {**encoder, **more}).options.values()
        options = get(name).options
        then = with_added(name, migrate_arguments(old), OPEN_TODAY & options.declared.keys())
        migrated = options.from_values({**then, **more}).values()
        for option in OPEN_TODAY & migrated.keys():  # today held-out texts decide where nothing is said
            assert today.pop(option) == options.declared[option].default
            assert migrated.pop(option) not in (None, "auto", ())
        if today.get("max_length") == 0:  # of presets for any data set, which read 64 tokens then
            assert migrated.pop("max_length") == 64
            del today["max_length"]
        if "max_iter" in today:  # of the solver, which made up to 20 passes then
            assert (migrated.pop("max_iter"), today.pop("max_iter")) == (20, 8)
        assert migrated == today
        assert migrate_arguments(json.loads(json.dumps(today))) == json.loads(json.dumps(today))
