"""The folder of a hybrid model: damaged ones are refused, no other is overwritten; parts must fit each other."""

import pytest
from planted import planted
from support.manifests import edited

import megalabel
from megalabel.errors import FormatError, SettingError
from megalabel.models.hybrid import HybridClassifier
from megalabel.models.mixture import Mixture
from megalabel.recipes.hybrid import hybrid

SMALL = dict(clusters=(4,), trees=1, joint_trees=1)


def made(run, **more):
    return hybrid(planted(), run=str(run), **{**SMALL, **more}).solve(lambda line: None)


@pytest.fixture(scope="module")
def model(bag_run):
    return made(bag_run)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hybrid") / "model"
    model.save(folder)
    return folder


def test_parts_that_do_not_fit_each_other(bag_run, model):
    other = made(bag_run, label_texts="no")
    given = (model.base_model, model.text, model.joint_trees, model.word_trees, 0.3, model.mixture)
    for place, part in (
        (1, other.text),
        (2, model.word_trees),
        (3, model.joint_trees),
        (3, ()),
        (2, ()),
        (5, Mixture.from_weights([1])),
    ):
        with pytest.raises(SettingError, match=r"trees of .* weights"):
            HybridClassifier(*(part if i == place else value for i, value in enumerate(given)))
    assert HybridClassifier(*given).score_types == model.score_types


@pytest.mark.parametrize(
    "name",
    [
        "joint0-level1-values.npy",
        "words0-order.npy",
        "base/encoder.safetensors",
        "base/labels.jsonl",
        "text/idf.npy",
    ],
)
def test_a_damaged_folder_is_refused(name, saved, model, tmp_path):
    model.save(tmp_path / "model")
    with open(tmp_path / "model" / name, "r+b") as file:
        file.seek(-4, 2)
        file.write(b"\xff\xff\xff\xff")
    with pytest.raises(FormatError, match="SHA-256"):
        megalabel.load(tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    with pytest.raises(FormatError, match="missing"):
        megalabel.load(tmp_path / "model")
    assert isinstance(megalabel.load(saved), HybridClassifier)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("joint_trees", [{"beams": [10], "post_processor": "cube"}]),
        ("joint_trees", [{"beams": [10, 10], "post_processor": "l3-hinge"}]),
        ("word_trees", []),
        ("word_trees", 7),
        ("word_trees", [{}]),
        ("mixture", {"slopes": [1.0], "offsets": [0.0], "weights": [1.0]}),
        ("mixture", {"weights": [1.0]}),
        ("mixture", []),
        ("scale", "long"),
        ("scale", None),
    ],
    ids=str,
)
def test_a_manifest_that_cannot_be_is_refused(fact, value, model, tmp_path):
    model.save(tmp_path / "model")
    with edited(tmp_path / "model") as manifest:
        manifest[fact] = value
    with pytest.raises(FormatError, match="Copy the whole folder again"):
        megalabel.load(tmp_path / "model")


def test_a_model_takes_an_older_ones_place_and_no_other_folders(model, saved, tmp_path):
    (tmp_path / "notes").write_text("mine")
    for place in (tmp_path, tmp_path / "notes"):
        with pytest.raises(SettingError, match="not a model"):
            model.save(place)
    assert (tmp_path / "notes").read_text() == "mine"
    model.save(saved)
    assert isinstance(megalabel.load(saved), HybridClassifier)
