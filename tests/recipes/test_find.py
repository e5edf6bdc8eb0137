"""Recipes by name and address: those of other packages, which need trust; broken ones, which harm nothing."""

import hashlib
import json

import pytest
from planted import planted

import megalabel
from megalabel.data.convert import convert
from megalabel.errors import SettingError
from megalabel.recipes import find, from_preset, get, listed, names
from megalabel.recipes.renee import Renee, renee
from megalabel.training.recipe import recipe

MODULE = '''
"""A recipe of another package: Renée's, with an option of its own."""

from typing import Annotated, Literal

from megalabel.recipes.options import Options, at_least
from megalabel.recipes.renee import Renee, renee
from megalabel.training.recipe import recipe


class Mine(Renee):
    panel = "Mine"
    encoder = "bag"
    rate: Annotated[float | None, at_least(0), "A rate."] = None
    kind: Annotated[Literal["one", "two"], "A kind."] = "one"


@recipe
def mine(corpus, options: Mine):
    """Trains as Renée does."""
    values = {name: value for name, value in options.values().items() if name not in ("rate", "kind")}
    return renee(corpus, **values)


def plain(corpus):
    return None
'''
SMALL = dict(tokenizer="words", max_length=16, epochs=1, batch_size=64, warmup=0.1, validation_fraction=0.1)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The name of a package with the module `mine` and broken ones; of its own in each test, as imports stay."""
    name = f"package_{abs(hash(tmp_path))}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "mine.py").write_text(MODULE)
    (folder / "mine.toml").write_text(
        '[[preset]]\nsets = ["*"]\norigin = "a guess"\nkind = "two"\nhead_lr = 0.5\n'
    )
    (folder / "broken.py").write_text("import no_such_module_at_all\n")
    (folder / "unknown_type.py").write_text(
        "from typing import Annotated\n"
        "from megalabel.recipes.options import Options\n"
        "class O(Options):\n    x: Annotated[dict, 'X.'] = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def declared(package, monkeypatch):
    """Entry points of the package, as if it were installed."""
    from importlib.metadata import EntryPoint

    points = {
        name: EntryPoint(name, f"{package}.{module}:mine", find.GROUP)
        for name, module in (("theirs", "mine"), ("broken", "broken"), ("odd", "unknown_type"))
    }
    monkeypatch.setattr(find, "declared", lambda: points)
    return package


def test_the_recipes_of_megalabel_are_the_files_that_define_one_of_their_name():
    every = [
        "cascadexml",
        "chunked",
        "dexml",
        "distill",
        "elmo",
        "hybrid",
        "lightxml",
        "linear",
        "ngame",
        "renee",
        "retrieval",
        "spartex",
    ]
    assert names() == every
    for name in names():
        assert get(name).address == name
        assert len((get(name).__doc__ or "").splitlines()) == 1
    assert get("renee") is renee
    assert renee.options is Renee


def test_a_recipe_is_called_with_options_or_with_their_values():
    values = {"encoder": "bag", **SMALL}
    one, two = renee(planted(), **values), renee(planted(), Renee(**values))
    assert one.arguments == two.arguments == Renee(**values).values()
    assert one.name == "renee"
    assert one.source_sha256 == hashlib.sha256(renee.source_file().read_bytes()).hexdigest()
    for wrong in ((planted(), Renee(**values), 3), (planted(), object())):
        with pytest.raises((SettingError, TypeError)):
            renee(*wrong)
    with pytest.raises(SettingError):
        renee(planted(), Renee(**values), epochs=3)


@pytest.mark.parametrize("parameters", ["corpus", "corpus, options", "corpus, options: int", "a, b: Renee, c"])
def test_a_function_that_takes_no_options_is_no_recipe(parameters):
    scope: dict = {"Renee": Renee}
    exec(f"def build({parameters}): ...", scope)
    scope["build"].__module__ = __name__
    with pytest.raises(SettingError) as refused:
        recipe(scope["build"])
    assert refused.value.where == "recipe"


def test_a_recipe_of_another_package_trains_with_the_preset_beside_it(package, tmp_path):
    address = f"{package}.mine:mine"
    made = from_preset(address, planted(), trust=[package], **SMALL)
    assert made.name == address
    assert (made.arguments["kind"], made.arguments["head_lr"], made.arguments["rate"]) == ("two", 0.5, None)
    megalabel.train(made, tmp_path / "run", quiet=True)
    facts = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert facts["recipe"] == address
    source = tmp_path / package / "mine.py"
    assert facts["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert from_preset(get(address, trust=[package]), planted(), **SMALL).arguments == made.arguments


def test_nothing_of_a_package_is_imported_without_trust(package):
    import sys

    with pytest.raises(SettingError) as refused:
        get(f"{package}.mine:mine")
    assert refused.value.where == "trust"
    assert package not in sys.modules


@pytest.mark.parametrize(
    "address", ["PACKAGE.broken:mine", "PACKAGE.unknown_type:mine", "PACKAGE.mine:plain", "PACKAGE.mine:no_such"]
)
def test_what_is_no_recipe_is_refused(address, package):
    with pytest.raises(SettingError):
        get(address.replace("PACKAGE", package), trust=[package])


def test_an_unknown_name_is_refused_and_a_close_one_is_shown():
    with pytest.raises(SettingError) as refused:
        get("reneee")
    assert "renee?" in refused.value.found
    assert refused.value.where == "recipe"


def test_declared_recipes_are_found_by_name_and_broken_ones_are_a_line(declared):
    from megalabel.training.trust import trusting

    assert get("theirs", trust=[declared]).address == f"{declared}.mine:mine"
    untrusted = {recipe.name: recipe for recipe in listed()}
    assert set(untrusted) == {*names(), "theirs", "broken", "odd"}
    assert untrusted["theirs"].function is None and declared in untrusted["theirs"].what
    with trusting([declared]):
        found = {recipe.name: recipe for recipe in listed()}
    assert found["theirs"].what == "Trains as Renée does."
    for name in ("broken", "odd"):
        assert found[name].function is None
        assert "\n" not in found[name].what


def test_the_command_line_lives_with_broken_recipes(declared, command):
    status, out, _ = command("recipes", "--trust", declared)
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "no_such_module_at_all" in lines["broken"]
    assert lines["theirs"].split()[1] == "1"
    assert command("train", "--help")[0] == 0
    assert command("train", "renee", "--help")[0] == 0
    status, _, err = command("train", "broken", "--trust", declared, "DATA")
    assert (status, err.count("\n")) == (2, 1)
    status, _, err = command("train", "theirs", "DATA")
    assert status == 2
    assert f"--trust {declared}" in err


def test_the_command_line_trains_a_recipe_of_another_package_and_repeats_it(command, package, tmp_path):
    convert(planted(), tmp_path / "data", "raw")
    run, address = tmp_path / "run", f"{package}.mine:mine"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    again = ["train", address, tmp_path / "data", "-o", run, "--kind", "one", *options, "--trust", package]
    status, _, err = command(*again)
    assert status == 0, err
    assert json.loads((run / "recipe.json").read_text())["arguments"]["kind"] == "one"
    status, out, _ = command("train", address, "--help", "--trust", package)
    assert status == 0 and "--kind" in out and "[one|two, default one]" in out
    assert command("train", "--from", run, "-o", tmp_path / "no")[0] == 2
    assert command("train", "--from", run, "-o", tmp_path / "again", "--trust", package)[0] == 0
    (tmp_path / package / "mine.py").write_text(MODULE + "\n# another line\n")
    status, _, err = command("train", "--from", run, "-o", tmp_path / "changed", "--trust", package)
    assert (status, err.count("\n")) == (2, 1)
    assert "has changed" in err
    assert not (tmp_path / "changed").exists()


def test_recipes_shows_presets_with_their_origin(command, package):
    status, out, _ = command("recipes", f"{package}.mine:mine", "--trust", package)
    assert status == 0
    assert "any data set" in out and "a guess" in out and "head_lr=0.5" in out
    status, out, _ = command("recipes", "renee")
    assert status == 0
    assert "LF-AmazonTitles-131K" in out
    status, _, err = command("recipes", "reneee")
    assert (status, err.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", names())
def test_a_recipe_is_a_page(name):
    lines = get(name).source_file().read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
