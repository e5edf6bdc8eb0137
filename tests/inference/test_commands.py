"""`megalabel predict` and `megalabel evaluate` on the inputs that users report."""

import gzip
import io
import json
import sys

import numpy as np
import pytest

CSV = b'text,labels\n"purr whisker, feline",cat\n"bark\nleash",dog\n'
RECORD = b'{"id":7,"text":"purr whisker","note":"bark leash puppy milk udder herd"}\n'


@pytest.fixture
def piped(command, monkeypatch):
    """Runs a command with bytes on standard input."""

    def run(content, *arguments):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return command(*arguments)

    return run


def best(out):
    return [json.loads(line)["labels"][0]["label"] for line in out.splitlines()]


def test_predict_reads_a_csv_file_and_a_record(command, piped, run, tmp_path):
    (tmp_path / "q.csv").write_bytes(CSV)
    status, out, err = command("predict", run, tmp_path / "q.csv", "-k", 1)
    assert (status, best(out), err) == (0, ["cat", "dog"], "")
    for name in ("w.jsonl", "w.ndjson"):
        (tmp_path / name).write_bytes(RECORD)
        assert best(command("predict", run, tmp_path / name, "-k", 1)[1]) == ["cat"]
    status, out, err = piped(RECORD, "predict", run, "-k", 1)
    assert best(out) == ["cat"]
    assert "standard input: read as JSON lines" in err
    line = json.loads(out)
    assert (line["id"], line["note"][:4]) == (7, "bark")


def test_the_options_of_reading_are_there(command, piped, run, tmp_path):
    (tmp_path / "q.csv").write_bytes(b"Frage;x\npurr whisker;1\nb\xe4rk leash;2\n")
    options = ["--text-field", "Frage", "--encoding", "cp1252", "-k", 1]
    status, out, err = command("predict", run, tmp_path / "q.csv", *options)
    assert (status, best(out)) == (0, ["cat", "dog"])
    assert "separated by ';'" in err
    assert len(piped(CSV, "predict", run, "--format", "lines")[1].splitlines()) == 4


def test_predict_says_what_its_scores_are(command, piped, run, tmp_path):
    out = piped(b"purr whisker\n", "predict", run)[1]
    line = json.loads(out)
    assert line["score_type"] == "probability"
    assert all(0 <= label["score"] <= 1 for label in line["labels"])
    same = piped(b"purr whisker\n", "predict", run, "--probabilities")[1]
    assert json.loads(same) == line
    (tmp_path / "t.txt").write_text("purr whisker\nbark\n")
    assert command("predict", run, tmp_path / "t.txt", "-o", tmp_path / "p.npz")[0] == 0
    with np.load(tmp_path / "p.npz", allow_pickle=False) as found:
        assert str(found["score_type"]) == "probability"


def test_a_threshold_leaves_labels_out_but_the_least_number(command, run, tmp_path):
    (tmp_path / "t.txt").write_text("purr whisker\nzzz\n")

    def counts(*options):
        status, out, err = command("predict", run, tmp_path / "t.txt", *options)
        assert status == 0, err
        return [len(json.loads(line)["labels"]) for line in out.splitlines()]

    assert counts() == [8, 8]
    assert counts("--threshold", 0.5) == [1, 0]
    assert counts("--threshold", 0.5, "--min-labels", 2) == [2, 2]
    assert counts("--threshold", 0) == [8, 8]
    assert counts("--threshold", 1) == [0, 0]
    command("predict", run, tmp_path / "t.txt", "--threshold", 0.5, "-o", tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as found:
        assert (found["labels"] >= 0).sum(axis=1).tolist() == [1, 0]
        assert np.isneginf(found["scores"][1]).all()


def test_huge_k_is_the_number_of_labels(command, run, base, tmp_path):
    (tmp_path / "t.txt").write_text("purr\n" * 20_000)
    for k in (9, 1_000_000, 10**9, 10**18):
        status, _, err = command("predict", run, tmp_path / "t.txt", "-k", k, "-o", tmp_path / "p.npz")
        assert status == 0
        assert f"k = {k:,}: the model has 8 labels, and all of them are ranked" in err
        with np.load(tmp_path / "p.npz") as found:
            assert found["labels"].shape == (20_000, 8)
    status, out, _ = command("evaluate", run, base, "--k", "1000000000")
    assert (status, "P@1000000000" in out) == (0, True)


def test_both_commands_take_k_in_both_forms(command, run, base, tmp_path):
    (tmp_path / "t.txt").write_text("purr\n")
    for form in ("-k", "--k"):
        assert command("evaluate", run, base, form, 2)[0] == 0
        assert command("predict", run, tmp_path / "t.txt", form, 2)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "RUN", "T/t.txt", "--threshold", "nan"], "threshold"),
        (["predict", "RUN", "T/t.txt", "--min-labels", "1"], "without a threshold"),
        (
            ["predict", "RUN", "T/t.txt", "--threshold", "0", "--min-labels", "11"],
            "11 is not a whole number from 0",
        ),
        (["predict", "RUN", "T/t.txt", "--format", "xls"], "one of lines, jsonl"),
        (["predict", "RUN", "T/t.txt", "--encoding", "utf-99"], "is not an encoding of text"),
        (["predict", "RUN", "T/t.txt", "-o", ""], "--out: an empty value"),
        (["predict", "RUN", ""], "an empty value"),
        (["predict", "RUN", "T/t\0.txt"], "NUL"),
        (["predict", "RUN", "T/t.txt", "-o", "T/a\0.npz"], "NUL"),
        (["predict", "R\0UN", "T/t.txt"], "null byte"),
        (["evaluate", "RUN", ""], "an empty value"),
        (["evaluate", "RUN", "T\0"], "NUL"),
        (["evaluate", "RUN", "BASE", "-o", ""], "an empty value"),
        (["evaluate", "RUN", "BASE", "--propensity-a", "1e308"], "beyond the largest number"),
        (["predict", "RUNN", "T/t.txt"], "there is no such folder; expected the folder of a finished run"),
        (["predict", "RUNN", "T/t.txt"], "Did you mean RUN?"),
        (["predict", "BASE", "T/t.txt"], "a data set (jsonl), not a run"),
        (["predict", "T/t.txt", "T/t.txt"], "a file; expected the folder of a finished run"),
        (["predict", "T/empty", "T/t.txt"], "no model (the folder holds: nothing)"),
        (["evaluate", "T/t.txt", "BASE"], "a file; expected the folder of a finished run"),
        (["evaluate", "RUN", "T/t.txt"], "T/t.txt"),
        (["evaluate", "T/p.npz"], "holds predictions, and no data set is named"),
    ],
)
def test_mistakes_are_one_line_with_the_cause(command, run, base, tmp_path, arguments, said):
    (tmp_path / "t.txt").write_text("purr\n")
    (tmp_path / "p.npz").write_bytes(b"")
    (tmp_path / "empty").mkdir()

    def filled(text):
        for name, value in (("RUN", run), ("BASE", base), ("T/", f"{tmp_path}/")):
            text = text.replace(name, str(value))
        return text

    status, out, err = command(*map(filled, arguments))
    assert (status, out) == (2, "")
    assert filled(said) in err
    assert err.count("\n") == 1 or err.startswith("Usage")
    assert "Traceback" not in err


def test_empty_input_is_told(piped, run):
    status, out, err = piped(b"", "predict", run)
    assert (status, out) == (0, "")
    assert "standard input holds no texts" in err


def test_metrics_json_names_data_date_and_version(command, run, base, tmp_path):
    import megalabel

    assert command("evaluate", run, base)[0] == 0
    about = json.loads((run / "metrics.json").read_text())["about"]
    assert (about["data"], about["path"], about["texts"]) == ("base", str(base), 30)
    assert about["version"] == megalabel.__version__
    assert about["date"][:2] == "20" and about["date"].endswith("+00:00")
    assert command("evaluate", run, base / "test.jsonl", "-o", tmp_path / "m.json")[0] == 0
    about = json.loads((tmp_path / "m.json").read_text())["about"]
    assert (about["data"], about["path"]) == ("test", str(base / "test.jsonl"))
    err = command("evaluate", run, base / "test.jsonl")[2]
    assert f"replaces the metrics on {base} of 20" in err
    err = command("evaluate", run, base)[2]
    assert f"replaces the metrics on {base / 'test.jsonl'} of 20" in err
    assert json.loads((run / "metrics.json").read_text())["about"]["data"] == "base"


def test_what_was_measured_is_printed_before_it_is_written(command, run, base, tmp_path, monkeypatch):
    from megalabel.cli import metrics_table

    def read_only(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(metrics_table, "write_json", read_only)
    status, out, err = command("evaluate", run, base)
    assert status == 0
    assert "P@1" in out
    assert "metrics.json cannot be written (Read-only file system)" in err
    status, out, err = command("evaluate", run, base, "-o", tmp_path / "m.json")
    assert status == 2
    assert "P@1" in out
    assert "The disk is read-only" in err


def test_stored_predictions_are_measured(command, run, base, tmp_path):
    table = command("evaluate", run, base)[1].splitlines()[2].split()[1:]
    for name in ("p.npz", "p.jsonl", "p.jsonl.gz"):
        assert command("predict", run, base / "test.jsonl", "-o", tmp_path / name)[0] == 0
        before = (run / "metrics.json").read_bytes()
        status, out, err = command("evaluate", tmp_path / name, base)
        assert status == 0, err
        assert out.splitlines()[2].split()[1:] == table
        assert (run / "metrics.json").read_bytes() == before
    assert not (tmp_path / "metrics.json").exists()


def test_an_unfinished_run_is_named_as_one(command, run, base, tmp_path):
    import shutil

    cut = tmp_path / "cut"
    shutil.copytree(run, cut)
    facts = json.loads((cut / "recipe.json").read_text())
    (cut / "recipe.json").write_text(json.dumps({**facts, "finished": None}))
    (tmp_path / "t.txt").write_text("purr\n")
    for arguments in (["predict", cut, tmp_path / "t.txt"], ["evaluate", cut, base]):
        status, _, err = command(*arguments)
        assert status == 2
        assert "the run is not finished" in err
        assert "give its `megalabel train` command again, which resumes it; or give" in err.replace("Give", "give")
    status, _, err = command("predict", cut / "model", tmp_path / "t.txt")
    assert status == 0
    assert "the run is not finished; this is its best model so far" in err
    shutil.rmtree(cut / "model")
    err = command("predict", cut, tmp_path / "t.txt")[2]
    assert "not finished" in err and "or give" not in err


def test_gz_output_and_odd_suffixes(command, run, tmp_path):
    (tmp_path / "t.txt").write_text("purr\n")
    assert command("predict", run, tmp_path / "t.txt", "-o", tmp_path / "P.JSONL.GZ", "-k", 1)[0] == 0
    with gzip.open(tmp_path / "P.JSONL.GZ", "rt") as file:
        assert best(file.read()) == ["cat"]
