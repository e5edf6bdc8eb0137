"""CascadeXML on planted data: it learns, its parts are wired as the paper has them, and bad settings are told."""

import json

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.encoders.readout import layer_of
from megalabel.errors import MegalabelError, SettingError
from megalabel.labels.tree import LabelTree
from megalabel.recipes.cascadexml import cascadexml
from megalabel.recipes.levels import BY_LEVELS
from megalabel.training.optim.row_sparse import RowAdam, RowSGD
from megalabel.training.optim.schedule import ThreePhase

SMALL = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=15, batch_size=32, accumulation_steps=1, hidden_dim=0,
    level_dropout=(0.1, 0.1, 0.1), clusters=(4, 16), beams=(4, 12), head_lr=0.02, encoder_lr=0.002, token_lr=0.02,
    schedule="cosine", log_every=1,
)  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {},
        {
            "head_optimizer": "sgd",
            "reduction": "sum",
            "head_lr": 0.05,
            "bias_from_prior": True,
            "path_score": "path",
        },
        {"head_optimizer": "adagrad"},
        {"head_optimizer": "adagrad", "weights": "float8", "accumulation_steps": 2},
        {"head_optimizer": "sgd", "weights": "bfloat16", "reduction": "sum", "head_lr": 0.05},
        {"schedule": "three-phase", "accumulation_steps": 2, "label_texts": True, "shared_view": True},
    ],
    ids=["adamw", "sgd", "adagrad", "float8", "bfloat16", "three-phase"],
)
def test_it_learns_and_comes_back(more, tmp_path):
    data = planted()
    model = megalabel.train(cascadexml(data, **{**SMALL, **more}), tmp_path / "run", quiet=True)
    assert megalabel.evaluate(model, data)["P@1"] > 90
    again = megalabel.load(tmp_path / "run")
    a, b = model.topk(data.test.texts, k=5), again.topk(data.test.texts, k=5)
    assert torch.equal(torch.as_tensor(a.ids), torch.as_tensor(b.ids))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    told = [line for line in lines if "recall level 0" in line]
    assert len(told) > 50
    assert told[-1]["recall level 0"] == told[-1]["recall level 1"] == 100
    assert told[-1]["P@1 level 2"] > 90


def test_the_wiring_is_the_papers(deep_bert):
    recipe = cascadexml(planted(), encoder=str(deep_bert), max_length=16, clusters=(4, 8, 32), warmup_epochs=2)
    encoder, head = recipe.encoder, recipe.head
    twelfths = [[round(12 * layer) for layer in readout.layers] for readout in encoder.readouts]
    assert twelfths == [[5, 6], [8], [10], [12]]
    assert {readout.pooling for readout in encoder.readouts} == {"first"}
    assert encoder.joins[0][0].p == 0.2
    assert encoder.joins[0][1].weight.shape == (encoder.dim, 2 * encoder.dim)
    assert head.n_views == 4
    assert head.level_dropout == (0.2, 0.25, 0.4, 0.5)
    assert head.beams == (4, 8, 32)  # the paper's 128, 256 and 400, none above its level
    assert (head.path_score, head.reduction, head.level_weights) == (
        "label*parent",
        "mean",
        (1.0,) * 4,
    )
    optimizers = recipe.optimizers
    assert isinstance(optimizers["head"], RowAdam)
    rates = {name: values[0] for name, values in optimizers.base.items()}
    assert rates == {"encoder": 1e-4, "joins": 1e-3, "head": 1e-3}
    assert optimizers["head"].weight_decay == optimizers["joins"].param_groups[0]["weight_decay"] == 0.005
    joined = {id(p) for p in encoder.joins.parameters()}
    of_encoder = {id(p) for group in optimizers["encoder"].param_groups for p in group["params"]}
    assert joined and not joined & of_encoder
    assert isinstance(recipe.schedule, ThreePhase)
    assert (recipe.schedule.warmup, recipe.schedule.final) == (2, 3)
    assert (recipe.batches.size, recipe.accumulation_steps) == (64, 1)


def test_two_levels_read_other_layers(deep_bert):
    recipe = cascadexml(planted(), encoder=str(deep_bert), max_length=16, clusters=(4, 16))
    assert [[round(12 * n) for n in readout.layers] for readout in recipe.encoder.readouts] == [[7, 8], [10], [12]]
    assert recipe.head.level_dropout == (0.3, 0.3, 0.4)


def test_a_shallow_encoder_is_refused_unless_layers_are_given(tiny_bert):
    arguments = {"encoder": str(tiny_bert), "max_length": 16, "clusters": (4, 16)}
    with pytest.raises(SettingError, match=r"2 layers for 4 readouts.*1, 1, 2, 2"):
        cascadexml(planted(), **arguments)
    assert cascadexml(planted(), **arguments, layers=(0.5, 1, 1, 1)).encoder.n_views == 3
    assert cascadexml(planted(), **arguments, shared_view=True).encoder.n_views == 1


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"beams": (4, 17)}, "beams"),
        ({"beams": (4,)}, "beams"),
        ({"level_dropout": (0.1,)}, "level_dropout"),
        ({"level_weights": (1.0,)}, "level_weights"),
        ({"encoder": "small", "layers": (0.5, 1)}, None),
        ({"tree": "no-such-folder", "clusters": ()}, "no-such-folder"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_tree_is_refused_before_training(bad, where):
    with pytest.raises(MegalabelError) as refused:
        cascadexml(planted(), **{**SMALL, **bad})
    assert where is None or where in str(refused.value.where)


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"clusters": (16, 4)}, "clusters"),
        ({"clusters": (512,)}, "clusters"),
        ({"clusters": (10,)}, "clusters"),
        ({"tree_source": "pictures"}, "tree_source"),
        ({"path_score": "parent"}, "path_score"),
        ({"reduction": "median"}, "reduction"),
        ({"reduction": ""}, "reduction"),
        ({"head_optimizer": "lamb"}, "head_optimizer"),
        ({"schedule": "linear"}, "schedule"),
        ({"schedule": "three-phase", "epochs": 3}, "warmup_epochs"),
        ({"tokenizer": "letters"}, "tokenizer"),
        ({"layers": (0.5, 1, 1, 1)}, "layers"),
        ({"pooling": "mean"}, "pooling"),
        ({"pooling": "middle", "encoder": "small"}, "pooling"),
        ({"encoder": "small", "layers": (0.5, 1, 1, 1), "shared_view": True}, "layers"),
        ({"tree": "x", "clusters": (4,)}, "clusters"),
        ({"precision": "int8"}, "precision"),
        ({"warmup_epochs": 16.0}, "warmup_epochs"),
        ({"selection_metric": "P@7x", "validation_fraction": 0.0}, "selection_metric"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_long_begins(bad, where, nothing_long):
    with pytest.raises(SettingError) as refused:
        cascadexml(planted(), **{**SMALL, **bad})
    assert refused.value.where == where


def test_a_tree_of_other_labels_is_refused(tmp_path):
    LabelTree((np.array([0, 2, 4]),), np.arange(4)).save(tmp_path / "tree")
    with pytest.raises(SettingError, match=r"4 labels.*64|64 labels.*4"):
        cascadexml(planted(), **{**SMALL, "tree": str(tmp_path / "tree"), "clusters": ()})


def test_a_saved_tree_is_used(tmp_path):
    order = np.random.default_rng(0).permutation(64)
    LabelTree((np.array([0, 8, 16]), np.arange(0, 65, 4)), order).save(tmp_path / "tree")
    arguments = {**SMALL, "tree": str(tmp_path / "tree"), "clusters": (), "beams": (2, 8), "head_optimizer": "sgd"}
    recipe = cascadexml(planted(), **arguments)
    assert recipe.head.sizes == (2, 16, 64)
    assert torch.equal(recipe.head.label_to_row.argsort(), torch.from_numpy(order))
    assert isinstance(recipe.optimizers["head"], RowSGD)


@pytest.mark.parametrize(
    ("clusters", "layers"), [((16,), [[9, 10], [12]]), ((2, 4, 8, 16), [[3, 4], [6], [8], [10], [12]])]
)
def test_every_number_of_levels_reads_layers_of_its_own(deep_bert, clusters, layers):
    recipe = cascadexml(planted(), encoder=str(deep_bert), max_length=16, clusters=clusters)
    assert [[layer_of(n, 12) for n in readout.layers] for readout in recipe.encoder.readouts] == layers
    for levels in BY_LEVELS:
        twelfths = BY_LEVELS[levels].layers
        assert len({layer_of(n / 12, 6) for n in twelfths}) == len(twelfths)  # MiniLM's six are enough
