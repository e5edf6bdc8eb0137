"""`megalabel predict --parts`: a folder of parts, resumed after a kill, filled by several processes."""

import gzip
import json
import shutil
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.animals import WORDS
from untrained import untrained

from megalabel.errors import FormatError, SettingError
from megalabel.inference import predict
from megalabel.inference.parts import NAME, PartsFolder
from megalabel.inference.predict import Wanted
from megalabel.inference.predict_parts import predict_parts

N = 47
FACTS = {"model": {"sha256": "1"}, "input": {"bytes": 2}, "options": {"k": 3}}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A file of 47 records with numbers beside the texts."""
    words, path = [word for pair in WORDS.values() for word in pair], tmp_path_factory.mktemp("texts") / "t.jsonl"
    lines = [json.dumps({"id": i, "text": f"{words[i % 16]} {words[i * 7 % 16]}"}) for i in range(N)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def arguments(run, texts):
    """The command for parts of 10 texts in a folder."""

    def of(folder, *more, run=run, texts=texts, parts="jsonl"):
        size = [] if "--part-size" in more else ["--part-size", 10]
        given = ["predict", run, texts, "-o", folder, "--parts", parts, *size, *more]
        return [str(argument) for argument in given]

    return of


@pytest.fixture(scope="module")
def whole(ranks, arguments, tmp_path_factory):
    """The folder of an undisturbed job, by the name of its files."""
    folder = tmp_path_factory.mktemp("whole") / "p"
    status, said = ranks.run(1, "support.rank_predictions:command", arguments(folder))[0]
    assert (status, said) == (0, f"{folder}: 47 texts in 5 parts")
    return contents(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_parts_one_after_the_other_are_the_file_that_one_job_writes(command, arguments, whole, run, texts):
    status, out, _ = command("predict", run, texts)
    assert status == 0
    assert sorted(whole) == [*(f"part-00000{i}.jsonl" for i in range(5)), NAME]
    assert b"".join(whole[name] for name in sorted(whole)[:5]).decode() == out
    assert json.loads(whole[NAME])["finished"] == {"texts": N, "parts": 5}


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_a_killed_job_goes_on_with_the_missing_parts_alone(ranks, arguments, whole, tmp_path):
    folder = tmp_path / "p"
    assert ranks.run(1, "support.rank_predictions:killed", arguments(folder), 33) == [-9]
    first = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}
    assert sorted(first) == [f"part-00000{i}.jsonl" for i in range(3)]
    assert list(folder.glob(".part-000003.jsonl.new-*")), "the part that was being written"
    found = ranks.run(1, "support.rank_predictions:command", arguments(folder))[0]
    assert found == (0, f"{folder}: 47 texts in 5 parts, of which 3 were there")
    assert contents(folder) == whole
    assert {name: (folder / name).stat().st_mtime_ns for name in first} == first


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_several_processes_write_the_bytes_of_one_and_fill_what_is_missing(ranks, arguments, whole, tmp_path):
    folder = tmp_path / "p"
    found = ranks.run(3, "support.rank_predictions:command", arguments(folder))
    assert found == [(0, f"{folder}: 47 texts in 5 parts"), (0, ""), (0, "")]
    assert contents(folder) == whole
    for name in ("part-000000.jsonl", "part-000003.jsonl"):
        (folder / name).unlink()
    found = ranks.run(2, "support.rank_predictions:command", arguments(folder))
    assert found[0] == (0, f"{folder}: 47 texts in 5 parts, of which 3 were there")
    assert contents(folder) == whole


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_processes_that_do_not_agree_end_with_one_message(ranks, arguments, tmp_path):
    folder = tmp_path / "p"
    found = ranks.run(2, "support.rank_predictions:command", arguments(folder), arguments(folder, "-k", 2))
    assert found[1] == (3, "")
    assert found[0][0] == 3
    assert "process 1 has options --k 2, but " in found[0][1]
    found = ranks.run(2, "support.rank_predictions:command", [*arguments(folder)[:5], "--part-size", "9"])
    assert found[1] == (2, "")
    assert "add --parts" in found[0][1].lower()
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
@pytest.mark.parametrize(("n_labels", "size"), [(7, 2), (2, 3)])
def test_processes_with_a_range_of_labels_each_rank_all_of_them(
    ranks, command, arguments, tmp_path, n_labels, size
):
    untrained([f"label {i}" for i in range(n_labels)], " ".join(sum(WORDS.values(), ()))).save(tmp_path / "m")
    given = [arguments(tmp_path / name, "-k", "3", run=tmp_path / "m") for name in ("whole", "sharded")]
    assert command(*given[0])[0] == 0
    found = ranks.run(size, "support.rank_predictions:command", [*given[1], "--shard-labels"])
    assert [status for status, _ in found] == [0] * size
    whole, sharded = (
        [
            json.loads(line)
            for path in sorted((tmp_path / name).glob("part-*"))
            for line in path.read_text().splitlines()
        ]
        for name in ("whole", "sharded")
    )
    assert len(whole) == N
    for one, other in zip(whole, sharded, strict=True):
        assert [label["id"] for label in one["labels"]] == [label["id"] for label in other["labels"]]
        scores = [[label["score"] for label in line["labels"]] for line in (one, other)]
        np.testing.assert_allclose(*scores, rtol=1e-5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("-k", "3"), "other options"),
        (("--part-size", "9"), "--part-size 10"),
        (("--threshold", "0.5"), "threshold"),
        (("--chunk-words", "2"), "chunk"),
    ],
)
def test_parts_of_other_options_are_refused(command, arguments, more, said, done):
    status, _, err = command(*arguments(done, *more))
    assert status == 2
    assert said in err


def test_parts_of_another_model_or_input_are_refused(command, arguments, texts, run, done, tmp_path):
    other = tmp_path / "t.jsonl"
    other.write_text(texts.read_text().replace("purr", "bark", 1))
    assert "another input" in command(*arguments(done, texts=other))[2]
    shutil.copytree(run, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "model" / "manifest.json").read_text())
    (tmp_path / "run" / "model" / "manifest.json").write_text(json.dumps(facts) + "\n")
    assert "another model" in command(*arguments(done, run=tmp_path / "run"))[2]
    assert "parts jsonl" in command(*arguments(done, parts="npz"))[2]


@pytest.fixture(scope="module")
def done(whole, tmp_path_factory):
    """The folder of a finished job."""
    folder = tmp_path_factory.mktemp("done") / "p"
    folder.mkdir()
    for name, content in whole.items():
        (folder / name).write_bytes(content)
    return folder


def test_npz_gzip_and_parquet_hold_the_same_answers(command, arguments, whole, tmp_path):
    lines = [json.loads(line) for name in sorted(whole)[:5] for line in whole[name].splitlines()]
    for format in ("npz", "jsonl.gz", "parquet"):
        assert command(*arguments(tmp_path / format, parts=format))[0] == 0
    packed = [gzip.decompress(p.read_bytes()) for p in sorted((tmp_path / "jsonl.gz").glob("part-*"))]
    assert packed == [whole[name] for name in sorted(whole)[:5]]
    arrays = [np.load(path) for path in sorted((tmp_path / "npz").glob("part-*"))]
    ids = np.concatenate([found["labels"] for found in arrays])
    assert ids.tolist() == [[label["id"] for label in line["labels"]] for line in lines]
    files = [pq.ParquetFile(path) for path in sorted((tmp_path / "parquet").glob("part-*"))]
    assert all(file.schema_arrow.metadata[b"score_type"] == b'"probability"' for file in files)
    rows = [row for file in files for row in file.read().to_pylist()]
    assert [row["row"] for row in rows] == list(range(N))
    assert [json.loads(row["fields"]) for row in rows] == [{"id": line["id"]} for line in lines]
    assert [row["labels"] for row in rows] == [[label["label"] for label in line["labels"]] for line in lines]
    assert [row["label_ids"] for row in rows] == ids.tolist()
    scores = np.array([row["scores"] for row in rows])
    np.testing.assert_allclose(scores, [[label["score"] for label in line["labels"]] for line in lines], rtol=1e-5)


def test_what_parts_cannot_be_is_refused(command, arguments, run, texts, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("x")
    for given, said in (
        (arguments(tmp_path / "file"), "is a file"),
        (arguments(tmp_path / "full"), "something else than parts"),
        (arguments(tmp_path / "p", parts="csv"), "one of jsonl, jsonl.gz, npz, parquet"),
        (arguments(tmp_path / "p", "--part-size", 0), "part-size: 0"),
        (arguments(tmp_path / "p", texts="-"), "cannot be read again"),
        (arguments(tmp_path / "p", texts=tmp_path / "none.jsonl"), "no such file"),
        (["predict", run, texts, "--parts", "jsonl"], "give -o FOLDER"),
        (["predict", run, texts, "-o", tmp_path / "p"], "--parts FORMAT"),
        (arguments(tmp_path / "p", "--shard-labels"), "an encoder with a dense head"),
    ):
        status, _, err = command(*given)
        assert status == 2
        assert said.lower() in err.lower()
        assert not (tmp_path / "p").exists()
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / NAME).write_text("{")
    assert command(*arguments(tmp_path / "p"))[0] == 2


def test_no_texts_are_no_parts_and_full_parts_have_no_empty_one_after_them(tmp_path):
    model = untrained(["ant", "bee", "cat"])
    for n, wanted in ((0, (0, 0)), (4, (4, 2)), (5, (5, 3))):
        folder = PartsFolder(tmp_path / f"{n}", "jsonl", FACTS)
        assert predict_parts(model, iter(["a b"] * n), Wanted(2), folder, folder.open(), part_size=2) == wanted
        assert folder.finished() == wanted
        assert folder.there() == set(range(wanted[1]))


def test_a_part_that_fails_does_not_appear_and_surplus_parts_are_an_error(tmp_path, monkeypatch):
    model, folder = untrained(["ant", "bee", "cat"]), PartsFolder(tmp_path / "p", "parquet", FACTS)

    def texts():
        yield from ["a", "b", "c"]
        raise OSError("the disk is gone")

    monkeypatch.setattr(predict, "BLOCK", 1)
    with pytest.raises(OSError, match="the disk is gone"):
        predict_parts(model, texts(), Wanted(2), folder, folder.open(), part_size=2)
    assert sorted(path.name for path in folder.folder.iterdir()) == ["part-000000.parquet", NAME]
    shutil.copy(folder.path(0), folder.path(7))
    with pytest.raises(FormatError, match="2 parts; expected 1"):
        predict_parts(model, iter(["a", "b"]), Wanted(2), folder, folder.open(), part_size=2)


def test_names_that_utf8_cannot_hold_become_escapes_in_parquet(tmp_path):
    model = untrained(["ant", "bee", "e\ud800"])
    predict.write_file(model, ["a"], Wanted(3), tmp_path / "a.parquet")
    assert "e\\ud800" in pq.read_table(tmp_path / "a.parquet")["labels"][0].as_py()
    with pytest.raises(SettingError):
        PartsFolder(tmp_path, "csv", FACTS)
