import hashlib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from megalabel.encoders import names
from megalabel.errors import FormatError, SettingError

GOOD, BAD = b"the very weights", b"other weights"


class FakeFile:
    """A line of a distribution's RECORD."""

    def __init__(self, root: Path, relative: str) -> None:
        self.root, self.relative = root, relative

    def __str__(self) -> str:
        return self.relative

    def locate(self) -> Path:
        return self.root / self.relative


@pytest.fixture
def packages(monkeypatch, tmp_path):
    """Installs fake distributions: packages["name"] = the content of its weights, None for a lost file."""
    site: dict[str, bytes | None] = {}

    class Fake:
        def __init__(self, name: str) -> None:
            folder = tmp_path / "site" / name / "model"
            folder.mkdir(parents=True, exist_ok=True)
            content = site[name]
            if content is not None:
                (folder / "model.safetensors").write_bytes(content)
            self.files = [FakeFile(tmp_path / "site", f"{name}/model/{f}") for f in ("a.py", "model.safetensors")]

    def distribution(name: str) -> Fake:
        if name not in site:
            raise PackageNotFoundError(name)
        return Fake(name)

    entry = {
        "names": ["tiny", "some-org/tiny"],
        "sha256": hashlib.sha256(GOOD).hexdigest(),
        "packages": [{"distribution": d, "weights": "model.safetensors"} for d in ("first", "second")],
    }
    monkeypatch.setattr(names, "distribution", distribution)
    monkeypatch.setattr(names, "known", lambda: [entry])
    return site


def test_without_a_package_the_name_goes_to_the_hub(packages):
    assert names.find_encoder("some-org/tiny") == "some-org/tiny"
    assert names.installed("tiny") is None


@pytest.mark.parametrize("name", ["tiny", "some-org/tiny"])
def test_an_installed_package_comes_before_the_hub(packages, name, tmp_path):
    packages["second"] = GOOD
    assert names.find_encoder(name) == str(tmp_path / "site/second/model")


def test_the_first_package_of_the_list_is_taken(packages, tmp_path):
    packages.update(first=GOOD, second=GOOD)
    assert names.find_encoder("tiny") == str(tmp_path / "site/first/model")


def test_a_folder_comes_before_a_package(packages, tmp_path, monkeypatch):
    packages["first"] = BAD  # not even looked at
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert names.find_encoder("tiny") == "tiny"


def test_other_weights_than_the_hash_says_are_refused(packages):
    packages["first"] = BAD
    with pytest.raises(FormatError, match="package first have SHA-256") as caught:
        names.find_encoder("tiny")
    assert hashlib.sha256(GOOD).hexdigest()[:12] in str(caught.value)


def test_a_package_whose_weights_are_gone_is_passed_over(packages, tmp_path):
    packages.update(first=None, second=GOOD)
    assert names.find_encoder("tiny") == str(tmp_path / "site/second/model")


def test_a_name_that_no_package_is_known_for_goes_to_the_hub(packages):
    packages["first"] = GOOD
    assert names.find_encoder("distilbert-base-uncased") == "distilbert-base-uncased"


def test_the_list_of_packages_is_whole():
    for entry in names.known():
        assert len(entry["sha256"]) == 64
        assert entry["names"] and entry["license"]
        assert all(package["distribution"] and package["weights"] for package in entry["packages"])
    everything = [name for entry in names.known() for name in entry["names"]]
    assert len(everything) == len(set(everything))
    assert "all-MiniLM-L6-v2" in everything


@pytest.mark.parametrize(
    ("name", "meant"), [("minilmm", "minilm"), ("bagg", "bag"), ("smal", "small"), ("bert-base-uncased", None)]
)
def test_a_name_much_like_a_known_one_is_followed_by_it(name, meant):
    assert names.similar(name) == (meant or "")


def test_a_misspelled_name_is_refused_before_the_hub_is_asked(monkeypatch):
    import transformers

    from megalabel.encoders.transformer import Transformer

    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(transformers.PreTrainedConfig, "get_config_dict", asked)
    for name in ("minilmm", "all-minilm-l6-v2", "Small"):
        with pytest.raises(SettingError, match=f"no encoder '{name}'.*Did you mean"):
            Transformer.pretrained(name)
    names.check_spelling("bert-base-uncased")
    names.check_spelling("somebody/minilmm")
