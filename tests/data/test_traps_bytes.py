"""Compressed, damaged and wrongly encoded files are refused by name, or are read."""

import gzip

import numpy as np
import pytest
from support.trap_files import folder, refused

from megalabel.data.check import check
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError


def test_a_truncated_gzip_file(tmp_path):
    rng = np.random.default_rng(0)
    whole = gzip.compress("".join(f"{x}\n" for x in rng.integers(1 << 60, size=30000)).encode())
    path = folder(tmp_path, trn_X_txt=None, trn_X_txt_gz=whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated") as caught:
        Corpus.open(path)
    file, _, line = str(caught.value.where).partition(", line ")
    assert file.endswith("trn_X.txt.gz") and 10000 < int(line) < 20000
    assert "download it again" in caught.value.next_step
    assert "truncated" in check(path).findings[0].message


@pytest.mark.parametrize("cut", [1, 4, 8, 12])
def test_a_gzip_file_without_its_last_bytes(tmp_path, cut):
    path = folder(tmp_path, Y_txt=None, Y_txt_gz=gzip.compress(b"x\ny\nz\n")[:-cut])
    refused(path, "line 4" if cut <= 8 else "", "truncated")


def test_a_damaged_gzip_file(tmp_path):
    data = bytearray(gzip.compress(b"x\ny\nz\n"))
    data[-6] ^= 0xFF  # the checksum
    refused(folder(tmp_path, Y_txt=None, Y_txt_gz=bytes(data)), "Y.txt.gz, line 1", "damaged")


def test_a_plain_file_called_gz_and_gzip_called_plain(tmp_path):
    refused(folder(tmp_path, Y_txt=None, Y_txt_gz="x\ny\nz\n"), "Y.txt.gz, line 1", "damaged")
    (tmp_path / "Y.txt.gz").unlink()
    refused(folder(tmp_path, Y_txt=gzip.compress(b"x\ny\nz\n")), "Y.txt", "without .gz")


def test_gzip_of_several_members_is_one_file(tmp_path):
    parts = gzip.compress(b"x\ny") + gzip.compress(b"\nz\n") + b"\0" * 9
    assert list(Corpus.open(folder(tmp_path, Y_txt=None, Y_txt_gz=parts)).label_texts) == ["x", "y", "z"]


def test_plain_and_gzip_side_by_side(tmp_path):
    path = folder(tmp_path, Y_txt_gz=gzip.compress(b"x\n"))
    refused(path, tmp_path.name, "Y.txt and Y.txt.gz")


def test_bytes_that_are_not_utf8(tmp_path):
    path = folder(tmp_path, trn_X_txt=b"a\nb caf\xe9\nna\xefve\n")
    report = refused(path, "trn_X.txt, line 2", "byte 0xe9 at byte 6")
    assert report.findings[0].count == 2


def test_a_zip_archive_is_named(tmp_path):
    refused(folder(tmp_path, Y_txt=b"PK\x03\x04..."), "Y.txt", "a zip archive")


def test_utf16_is_named(tmp_path):
    refused(folder(tmp_path, Y_txt="x\ny\n".encode("utf-16")), "Y.txt", "UTF-16")
