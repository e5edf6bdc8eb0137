import gzip
import io
import json

import numpy as np
import pytest
from untrained import untrained

from megalabel.errors import DataError, MegalabelError, SettingError
from megalabel.inference import predict
from megalabel.inference.predict import format_of, stream_texts, write_file, write_jsonl

NAMES = ["ant", "bee", "cat", "dög", "e\ud800"]


@pytest.fixture(scope="module")
def model():
    return untrained(NAMES)


def test_a_line_ends_at_a_newline_and_nowhere_else(tmp_path):
    (tmp_path / "t.txt").write_bytes("\ufeffa\r\nb\u2028c\x0bd\te\n\n\ufefff\rg".encode())
    assert list(stream_texts(tmp_path / "t.txt")) == ["a", "b\u2028c\x0bd\te", "", "\ufefff\rg"]


def test_a_pipe_is_read_as_a_file_is():
    assert list(stream_texts("-", io.BytesIO(b"a\r\nb"))) == ["a", "b"]
    assert list(stream_texts("-", io.BytesIO(b""))) == []


def test_json_lines_hold_a_text_or_are_one(tmp_path):
    (tmp_path / "t.jsonl").write_bytes('\ufeff{"text": "a\\nb", "id": 3}\r\n"c"\n'.encode())
    assert list(stream_texts(tmp_path / "t.jsonl")) == ["a\nb", "c"]
    (tmp_path / "t.json.gz").write_bytes(gzip.compress(b'{"text": "a"}\n', mtime=0))
    assert list(stream_texts(tmp_path / "t.json.gz")) == ["a"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.txt", b"a\n\xff\n", r"t\.txt, line 2: bytes that are not UTF-8"),
        ("t.txt", "a\n".encode("utf-16"), r"t\.txt: UTF-16 text.*--encoding utf-16"),
        ("t.jsonl", b'{"text": "a"}\n{"text": \n', r"t\.jsonl, line 2: not JSON"),
        ("t.jsonl", b'{"text": "a"}\n}\n', "line 2: not JSON"),
        ("t.jsonl", b'{"subject": "a"}\n', "line 1: no text in the keys 'subject'"),
        ("t.jsonl", b'{"text": null}\n', "line 1: no text in"),
        ("t.jsonl", b"[1]\n", "line 1: no text in"),
        ("t.txt.gz", gzip.compress(bytes(range(65, 91)) * 50, mtime=0)[:-9], "ends early or is damaged"),
        ("t.txt.gz", b"a\n", "ends early or is damaged"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(stream_texts(tmp_path / name))


def test_a_file_that_is_not_there_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        list(stream_texts(tmp_path / "t.txt"))
    with pytest.raises(DataError, match="a folder"):
        list(stream_texts(tmp_path))


def test_answers_stream_in_blocks_and_in_order(model, monkeypatch):
    monkeypatch.setattr(predict, "BLOCK", 3)
    texts, seen, file = ["a", "b b", "c", "", "d a", "zzz", "a"], [], io.StringIO()

    def stream():
        for i, text in enumerate(texts):
            seen.append((i, len(file.getvalue().splitlines())))
            yield text

    assert write_jsonl(model, stream(), 2, file) == 7
    assert dict(seen)[6] == 6  # six answers were there before the seventh text was read
    lines = [json.loads(line)["labels"] for line in file.getvalue().splitlines()]
    labels, scores = model.topk(texts, 2).numpy()
    assert [[x["id"] for x in line] for line in lines] == labels.tolist()
    np.testing.assert_allclose([[x["score"] for x in line] for line in lines], scores, rtol=1e-5)
    assert all(x["label"] == NAMES[x["id"]] for line in lines for x in line)


def test_no_more_labels_than_there_are(model, tmp_path):
    file = io.StringIO()
    write_jsonl(model, ["a"], 9, file)
    assert len(json.loads(file.getvalue())["labels"]) == len(NAMES)
    write_file(model, ["a"], 9, tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as found:
        assert found["labels"].shape == found["scores"].shape == (1, len(NAMES))
        assert sorted(found["labels"][0]) == list(range(len(NAMES)))
        assert found["score_type"] == "logit"


def test_an_npz_holds_all_blocks_and_appears_whole(model, monkeypatch, tmp_path):
    monkeypatch.setattr(predict, "BLOCK", 2)
    texts, path = ["a", "b", "c", "d", ""], tmp_path / "new" / "p.npz"
    assert write_file(model, texts, 3, path) == 5
    with np.load(path) as found:
        assert (found["labels"].dtype, found["scores"].dtype) == (np.int64, np.float32)
        assert np.array_equal(found["labels"], model.topk(texts, 3).ids)

    def broken():
        yield from ("a", "b")
        raise DataError("cut", wanted="whole", next_step="mend")

    before = path.read_bytes()
    with pytest.raises(DataError, match="cut"):
        write_file(model, broken(), 3, path)
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="no texts"):
        write_file(model, [], 3, tmp_path / "none.npz")
    assert not (tmp_path / "none.npz").exists()


def test_the_output_format_goes_by_the_name():
    assert [format_of(n) for n in (None, "-", "a.jsonl", "a.jsonl.gz", "a.npz")] == ["jsonl"] * 4 + ["npz"]
    for name in ("a.json", "a.txt", "npz"):
        with pytest.raises(SettingError, match=r"\.npz"):
            format_of(name)


@pytest.mark.parametrize(
    ("texts", "k", "batch_size", "said"),
    [
        ("a", 1, 8, "one string"),
        ([None], 1, 8, "a text of type NoneType"),
        (["a"], 0, 8, "k = 0"),
        (["a"], 1.5, 8, "k = 1.5"),
        (["a"], 1, 0, "batch_size = 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(model, texts, k, batch_size, said):
    with pytest.raises(MegalabelError, match=said):
        model.topk(texts, k, batch_size=batch_size)


def test_pairs_to_leave_out_are_whole_numbers_of_these_texts(model):
    for pairs in (np.array([[0.0, 1.0]]), np.array([0, 1]), np.array([[1, 0]]), np.array([[-1, 0]])):
        with pytest.raises(SettingError, match="exclude"):
            model.topk(["a"], 1, exclude=pairs)


def test_the_number_of_texts_is_expected_from_the_lines_of_a_file(tmp_path, monkeypatch):
    from megalabel.inference import expected

    lines = tmp_path / "texts.txt"
    lines.write_text("a text\n" * 1000)
    assert expected.expected_rows(lines) == 1000
    monkeypatch.setattr(expected, "READ", 700)
    monkeypatch.setattr(expected, "PIECE", 700)
    assert expected.expected_rows(lines) == 1000  # from a tenth of the file
    for name in ("-", tmp_path, tmp_path / "none.txt", tmp_path / "texts.txt.gz"):
        assert expected.expected_rows(name) == 0
    rows = expected.ExpectedRows(iter([1, 2]), 2)
    assert expected.total_of(rows) == 2 and list(rows) == [1, 2]
    assert expected.total_of(x for x in [1]) is None and expected.total_of(np.zeros((3, 2))) == 3
