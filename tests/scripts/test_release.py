"""What keeps a checkout from being released."""

from __future__ import annotations

import subprocess

import pytest
from support.scripts import ROOT, load_script

PROJECT = '[project]\nrequires-python = ">=3.11"\nclassifiers = ["Programming Language :: Python :: 3.11"]\n'


@pytest.fixture(scope="module")
def release():
    return load_script("release")


@pytest.fixture
def checkout(tmp_path):
    """A repository that could be released as 1.2.0."""
    files = {
        "pyproject.toml": PROJECT,
        "CHANGELOG.md": "# Changelog\n\n## 1.2.0\n\n- Better.\n\n## 1.1.0\n\n- Good.\n",
        "tests/data/v1.2.0/linear/expected.json": "{}",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*author, "commit", "-qm", "All")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_nothing_stands_in_the_way_of_a_checkout_that_is_ready(release, checkout):
    assert list(release.obstacles(checkout, "1.2.0")) == []


@pytest.mark.parametrize(
    ("version", "change", "named"),
    [
        ("1.2", None, "1.2"),
        ("1.3.0", None, "CHANGELOG.md"),
        ("1.2.0", ("CHANGELOG.md", "## 1.2.0\n\n## 1.1.0\n- Good.\n"), "CHANGELOG.md"),
        ("1.2.0", ("new.txt", ""), "not committed"),
        ("1.2.0", ("pyproject.toml", PROJECT.replace(">=3.11", ">=3.12")), "requires-python"),
        ("1.2.0", ("tests/data/v1.2.0/linear/expected.json", None), "stored models"),
    ],
)
def test_an_obstacle_is_named(release, checkout, version, change, named):
    if change is not None:
        name, content = change
        (checkout / name).unlink(missing_ok=True)
        if content is not None:
            (checkout / name).write_text(content, encoding="utf-8")
    assert any(named in line for line in release.obstacles(checkout, version))


def test_a_version_is_tagged_once(release, checkout):
    subprocess.run(["git", "tag", "v1.2.0"], cwd=checkout, check=True)
    assert any("tag v1.2.0" in line for line in release.obstacles(checkout, "1.2.0"))


def test_classifiers_of_this_checkout_agree_with_the_python_that_it_requires(release):
    assert list(release._python_versions(ROOT)) == []
