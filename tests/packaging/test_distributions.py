"""Wheels and source distributions: what is in them, and what the checks of a release refuse."""

from __future__ import annotations

import shutil
import zipfile

import pytest
from support.scripts import load_script

distributions_script = load_script("distributions")
KINDS = ("megalabel sdist", "megalabel wheel", "megalabel_runtime sdist", "megalabel_runtime wheel")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_missing_from_a_distribution_and_nothing_foreign_in_it(distributions, kind):
    assert list(distributions_script.faults(distributions[kind])) == []


def test_the_wheel_has_the_data_of_the_package(distributions):
    found = distributions_script.contents(distributions["megalabel wheel"])
    data = ("py.typed", "serving/page.html", "reporting/page.html", "data/bundled/wordnet-4k/LICENSE-WORDNET.txt")
    assert all(found[f"megalabel/{name}"] >= 0 for name in data)
    assert found["megalabel/encoders/start/table.safetensors"] > 1_000_000


def test_the_operations_of_the_runtime_are_compiled(distributions):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    found = distributions_script.contents(distributions["megalabel_runtime wheel"])
    assert any(name.startswith("megalabel_runtime/_fast.") for name in found)


def test_faults_of_a_wheel_are_named(distributions, tmp_path):
    whole = distributions["megalabel wheel"]
    changed = tmp_path / whole.name
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name) if name.endswith("METADATA") else b""
            if name != "megalabel/serving/page.html":
                new.writestr(name, content.replace(b"\nVersion: ", b"\nVersion: 9"))
        new.writestr("tests/test_one.py", "")
    found = " ".join(distributions_script.faults(changed))
    for fault in ("serving/page.html is missing", "tests/test_one.py", "Version"):
        assert fault in found
