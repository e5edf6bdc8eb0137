"""A preset is found for every spelling of a data set's name, and stays with a copy of its encoder."""

import json

import pytest
from support.preset_names import find

from megalabel.cli.prepare import recipe_for
from megalabel.encoders.identity import same_encoder
from megalabel.recipes import get
from megalabel.recipes.presets import resolve

DISTILBERT = "sentence-transformers/msmarco-distilbert-base-v4"


@pytest.mark.parametrize(
    "name", ["lf-amazontitles-131k", "LF_AmazonTitles_131K", "lfamazontitles131k", "LF-AmazonTitles-131K-Aug"]
)
def test_spellings_of_a_data_set(name):
    expected = find("renee", "LF-AmazonTitles-131K")
    assert expected.sets[0] == "LF-AmazonTitles-131K" and find("renee", name) is expected


@pytest.mark.parametrize("name", ["raw_text", "LF-AmazonTitles-13K", "AmazonTitles-131K", "data"])
def test_other_names_get_the_preset_for_any_data_set(name):
    assert find("renee", name).sets == ("*",)


@pytest.fixture
def copies(tmp_path):
    """Folders with a copy of one encoder under several names, and one with another encoder."""

    def folder(name, config=None):
        made = tmp_path / name
        made.mkdir(parents=True)
        (made / "config.json").write_text(json.dumps(config or {}) if config != "bad" else "{")
        return str(made)

    copies = [
        folder("models/msmarco-distilbert-base-v4"),
        folder("sentence-transformers_msmarco-distilbert-base-v4"),
        folder("models--sentence-transformers--msmarco-distilbert-base-v4/snapshots/0123abc"),
        folder("mine", {"_name_or_path": DISTILBERT}),
        folder("mine2", {"_name_or_path": "/home/me/msmarco-distilbert-base-v4"}),
    ]
    others = [
        folder("msmarco-distilbert-base-v3"),
        folder("x", "bad"),
        folder("y", {"_name_or_path": 3}),
        folder("bag"),
    ]
    return copies, others


def test_a_copy_of_the_encoder_keeps_the_values_of_the_preset(copies):
    expected = resolve(get("renee"), "LF-AmazonTitles-131K", {"encoder": DISTILBERT})
    assert expected.preset.encoder == DISTILBERT
    for path in copies[0]:
        found = resolve(get("renee"), "LF-AmazonTitles-131K", {"encoder": path})
        assert found.preset is expected.preset, path
        assert found.options.head_lr == expected.options.head_lr and found.options.encoder == path
    for path in copies[1]:
        assert resolve(get("renee"), "LF-AmazonTitles-131K", {"encoder": path}).preset.encoder == "*"


@pytest.mark.parametrize(
    "given, preset, same",
    [
        ("google-bert/bert-base-uncased", "bert-base-uncased", True),
        ("FacebookAI/roberta-base", "roberta-base", True),
        ("all-MiniLM-L6-v2", "minilm", True),
        ("somebody/bert-base-uncased", "bert-base-uncased", False),
        ("bert-base-cased", "bert-base-uncased", False),
        ("small", "bag", False),
    ],
)
def test_names_of_the_hub(given, preset, same):
    assert same_encoder(given, preset) == same


@pytest.mark.parametrize(
    "name, encoder, recipe",
    [
        ("LF-AmazonTitles-131K", None, "renee"),
        ("Wiki10-31K", None, "cascadexml"),
        ("wiki31k", "google-bert/bert-base-uncased", "cascadexml"),
        ("mine", None, "renee"),
    ],
)
def test_prepare_takes_the_recipe_that_has_a_preset(name, encoder, recipe):
    assert recipe_for(name, encoder).name == recipe
