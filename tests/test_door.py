import types

import pytest

import megalabel


def test_the_door_lists_what_it_offers():
    for name in megalabel.__all__:
        assert getattr(megalabel, name) is not None
    public = {n for n in dir(megalabel) if not n.startswith("_")}
    assert public == set(megalabel.__all__)
    assert not any(isinstance(getattr(megalabel, n), types.ModuleType) for n in megalabel.__all__)


def test_what_is_not_offered_is_named():
    with pytest.raises(AttributeError, match="it offers Classifier, Corpus"):
        megalabel.fit  # noqa: B018


def test_the_changelog_knows_the_version():
    from pathlib import Path

    text = (Path(__file__).parent.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.startswith("## "))
    assert first == f"## {megalabel.__version__}"
