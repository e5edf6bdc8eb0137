"""Raw folders with irregular files, and assertions about the errors and findings that they cause."""

import pytest

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError

GOOD = {"trn_X.txt": "a\nb\nc\n", "trn_X_Y.txt": "0:1\n1:1 2:1\n2:1\n", "Y.txt": "x\ny\nz\n"}


def folder(tmp_path, **changes):
    """A valid raw folder with some files changed, added or (None) left out; `_txt` stands for `.txt`."""
    files = GOOD | {name.replace("_txt", ".txt").replace("_gz", ".gz"): c for name, c in changes.items()}
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def refused(path, where, found):
    """Asserts that opening raises a DataError with this place and value, and that `check` reports the same."""
    with pytest.raises(DataError) as caught:
        Corpus.open(path)
    error = caught.value
    assert str(error.where).endswith(where), error.where
    assert found in error.found, error.found
    report = check(path)
    assert not report.ok
    assert any(found in f.message and f.where == str(error.where) for f in report.findings)
    return report


def noted(path, where, message, count=1):
    """Asserts that the folder can be opened and that `check` has this finding; returns the corpus."""
    report = check(path)
    assert report.ok, report.lines()
    here = [f for f in report.findings if message in f.message and str(f.where).endswith(where)]
    assert [f.count for f in here] == [count], report.lines()
    return Corpus.open(path)
