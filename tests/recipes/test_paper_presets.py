"""Presets of the papers' data sets have the papers' values."""

import pytest
from support.preset_names import all_presets, find, named

from megalabel.data.catalog import propensity_constants
from megalabel.inputs.augment import TextRows
from megalabel.inputs.batches import Batches, hold_out
from megalabel.training.optim.schedule import WarmupCosine

ROBERTA = "sentence-transformers/all-roberta-large-v1"
DISTILROBERTA = "sentence-transformers/paraphrase-distilroberta-base-v2"
DISTILBERT = "sentence-transformers/msmarco-distilbert-base-v4"
# Training texts N and labels L as the XML Repository gives them (Wiki-500K: the AttentionXML split).
SIZES = {
    "AmazonTitles-670K": (485_176, 670_091),
    "Amazon-670K": (490_449, 670_091),
    "AmazonTitles-3M": (1_712_536, 2_812_281),
    "Amazon-3M": (1_717_899, 2_812_281),
    "Wiki-500K": (1_779_881, 501_070),
    "LF-AmazonTitles-131K": (294_805, 131_073),
    "LF-Wikipedia-500K": (1_813_391, 501_070),
    "LF-AmazonTitles-1.3M": (2_248_619, 1_305_265),
    "LF-WikiSeeAlso-320K": (693_082, 312_330),
    "LF-Amazon-131K": (294_805, 131_073),
}
# Jain et al., MLSys 2023, tables 14 and 15: encoder, batch, its rate, the classifier's rate and decay, dropout,
# warm-up in steps, epochs, tokens.
PAPER = {
    "AmazonTitles-670K": (ROBERTA, 256, 5e-5, 0.01, 1e-3, 0.8, 10000, 60, 32),
    "Amazon-670K": (ROBERTA, 256, 4e-5, 0.01, 1e-3, 0.8, 10000, 70, 512),
    "AmazonTitles-3M": (ROBERTA, 256, 5e-5, 0.01, 1e-3, 0.75, 10000, 60, 32),
    "Amazon-3M": (ROBERTA, 256, 4e-5, 0.01, 1e-3, 0.75, 10000, 60, 256),
    "Wiki-500K": ("roberta-base", 2048, 1e-4, 0.002, 1e-4, 0.75, 5000, 100, 256),
    "LF-AmazonTitles-131K": (DISTILBERT, 512, 1e-5, 0.05, 1e-4, 0.85, 5000, 100, 32),
    "LF-Wikipedia-500K": (DISTILROBERTA, 2048, 1e-4, 0.002, 1e-3, 0.7, 5000, 100, 256),
    "LF-AmazonTitles-1.3M": (DISTILBERT, 1024, 1e-6, 0.01, 1e-4, 0.7, 15000, 100, 32),
    "LF-WikiSeeAlso-320K": (DISTILROBERTA, 2048, 2e-4, 0.2, 1e-4, 0.75, 5000, 100, 128),
    "LF-Amazon-131K": (DISTILBERT, 512, 1e-4, 0.05, 1e-4, 0.75, 5000, 100, 128),  # without NGAME's encoder
}
KEYS = (
    "encoder", "batch_size", "encoder_lr", "head_lr", "head_weight_decay",
    "dropout", "warmup", "epochs", "max_length",
)  # fmt: skip
# Decay of the encoder in the authors' commands, where it is not their default of 0.01.
ENCODER_DECAY = dict.fromkeys(
    ["AmazonTitles-670K", "Amazon-670K", "Amazon-3M", "Wiki-500K", "LF-WikiSeeAlso-320K"], 1e-3
)
ONE_GPU = ["Amazon-670K", "Wiki-500K", "Amazon-3M", "AmazonTitles-670K"]


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_sets_have_the_papers_values(name):
    preset = find("renee", name)
    assert preset.sets == (name,)
    assert tuple(preset.arguments[key] for key in KEYS) == PAPER[name]
    assert preset.arguments["encoder_weight_decay"] == ENCODER_DECAY.get(name, 0.01)
    assert preset.arguments["head_optimizer"] == "sgd"
    assert preset.arguments["head_momentum"] == 0.9
    assert preset.arguments["label_texts"] == ("yes" if name.startswith("LF-") else "no")
    assert 0 < preset.arguments["validation_fraction"] <= 0.05
    assert "tables 14 and 15" in preset.origin
    assert propensity_constants(name) != (0.55, 1.5)  # spelt as the catalog does


@pytest.mark.parametrize(
    "preset", [p for p in all_presets() if set(p.sets) & SIZES.keys() and p.recipe == "renee"], ids=named
)
def test_the_warm_up_ends_before_the_run(preset):
    (name,) = preset.sets
    n, n_labels = SIZES[name]
    texts = len(hold_out(n, preset.arguments["validation_fraction"], 0)[0])
    rows = texts + n_labels * (preset.arguments["label_texts"] == "yes")
    steps = -(-rows // preset.arguments["batch_size"]) * preset.arguments["epochs"]
    schedule = WarmupCosine(steps, preset.arguments["warmup"])  # refuses a warm-up that is too long
    assert schedule.warmup_steps == preset.arguments["warmup"]
    assert schedule.warmup_steps < 0.25 * steps


def test_steps_an_epoch_are_those_of_texts_and_label_texts():
    """832 steps at 512 on LF-AmazonTitles-131K without a validation split, as the paper's code has it."""

    class Fake(TextRows):
        def __init__(self, n: int) -> None:
            self.n = n

        def __len__(self) -> int:
            return self.n

    n, n_labels = SIZES["LF-AmazonTitles-131K"]
    assert (
        Batches(Fake(n + n_labels), find("renee", "LF-AmazonTitles-131K").arguments["batch_size"], 1).steps == 832
    )


@pytest.mark.parametrize("name", ONE_GPU)
def test_the_one_gpu_settings_are_taken_by_their_encoder(name):
    preset = find("renee", name, "bert-base-uncased")
    assert preset.sets == (name,)
    assert preset.arguments["head_momentum"] == 0
    assert "ELMO" in preset.origin
    assert find("renee", name).encoder != "bert-base-uncased"


# Of Spartex as published: epochs, batch of an optimizer step, tokens, dropout, fan-in, threshold or fraction,
# steps between rewirings, rate of the labels, of the encoder, and warm-up.
SPARTEX = {
    "Wiki10-31K": (100, 32, 128, 0.6, 64, "threshold", 0.01, 300, 0.01, 1e-5, 1000),
    "Amazon-670K": (110, 64, 128, 0.6, 128, "threshold", 0.01, 800, 0.01, 1e-5, 1000),
    "Wiki-500K": (50, 128, 128, 0.5, 128, "threshold", 0.05, 600, 0.05, 5e-5, 1000),
    "Amazon-3M": (51, 256, 128, 0.35, 128, "fraction", 0.25, 750, 0.05, 5e-5, 10000),
    "LF-AmazonTitles-131K": (100, 512, 32, 0.7, 128, "fraction", 0.15, 1000, 0.08, 1e-5, 5000),
    "LF-WikiSeeAlso-320K": (101, 128, 32, 0.55, 128, "threshold", 0.02, 800, 0.01, 2e-4, 5000),
}


@pytest.mark.parametrize("name", SPARTEX)
def test_spartex_has_the_papers_values(name):
    preset = find("spartex", name)
    a = preset.arguments
    how = a["prune"]
    found = (
        a["epochs"], a["batch_size"], a["max_length"], a["dropout"], a["fan_in"], how, a[f"prune_{how}"],
        a["rewire_every"], a["head_lr"], a["encoder_lr"], a["warmup"],
    )  # fmt: skip
    assert found == SPARTEX[name]
    assert a["keep_optimizer_state"] is True
    assert a["rewire_until"] == 0.66
    assert not a.get("distinct_inputs", False)


# Of CascadeXML's commands: epochs, batch, parts of it, tokens, beams, dropout of the levels, epochs of the rise.
CASCADEXML = {
    "Wiki10-31K": (15, 64, 1, 256, [64, 64], [0.3, 0.3, 0.4], 2),
    "Amazon-670K": (15, 64, 1, 128, [128, 256, 400], [0.2, 0.25, 0.4, 0.5], 1),
    "Wiki-500K": (15, 64, 1, 128, [128, 256, 512], [0.2, 0.25, 0.35, 0.5], 1),
}


@pytest.mark.parametrize("name", CASCADEXML)
def test_cascadexml_has_the_values_of_the_authors_commands(name):
    preset = find("cascadexml", name)
    a = preset.arguments
    keys = (
        "epochs", "batch_size", "accumulation_steps", "max_length", "beams", "level_dropout", "warmup_epochs",
    )  # fmt: skip
    assert tuple(a[key] for key in keys) == CASCADEXML[name]
    assert (a["encoder_lr"], a["head_lr"]) == (1e-4, 1e-3)
    assert "tree's depths" in preset.origin  # no command has them


@pytest.mark.parametrize(("name", "n_labels"), [("Amazon-670K", 670_091), ("Wiki-500K", 501_070)])
def test_lightxml_has_the_clusters_of_the_authors_clustering(name, n_labels):
    clusters, leaf = 1, n_labels
    while leaf > 100:  # their code halves until a cluster has 100 labels or fewer
        clusters, leaf = 2 * clusters, -(-leaf // 2)
    assert find("lightxml", name).arguments["clusters"] == [clusters] == [8192]
