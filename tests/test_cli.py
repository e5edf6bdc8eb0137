import gzip
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from planted import planted

TRAIN = (
    "--encoder bag --tokenizer words --max-length 16 --epochs 10 --batch-size 32 --warmup 0.1 --dropout 0.1 "
    "--bias --head-optimizer adamw --head-lr 0.02 --head-init-std 0 --encoder-lr 0.002 --token-lr 0.02 "
    "--validation-fraction 0"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The planted corpus as a raw text folder."""
    data, path = planted(), tmp_path_factory.mktemp("data") / "planted"
    path.mkdir()
    (path / "Y.txt").write_text("\n".join(data.label_texts) + "\n")
    for side, split in (("trn", data.train), ("tst", data.test)):
        (path / f"{side}_X.txt").write_text("\n".join(split.texts) + "\n")
        rows = [" ".join(f"{j}:1" for j in split.labels[i].indices) for i in range(len(split))]
        (path / f"{side}_X_Y.txt").write_text(f"{len(split)} {data.n_labels}\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def run_folder(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "r"
    done = subprocess.run(
        [sys.executable, "-m", "megalabel.cli.main", "train", "renee", str(folder), "--out", str(out), *TRAIN],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "planted: 400 texts, 64 labels" in done.stderr
    assert "yours:" in done.stderr
    return out


def test_evaluate_prints_a_table_and_writes_flat_percentages(command, run_folder, folder):
    status, out, _ = command("evaluate", run_folder, folder)
    assert status == 0
    found = json.loads((run_folder / "metrics.json").read_text())
    assert found.pop("about")["data"] == "planted"
    assert found["P@1"] > 90
    assert {"P@5", "nDCG@3", "PSP@5", "PSnDCG@1", "R@5", "coverage@5", "macro-F1@5"} <= found.keys()
    assert all(isinstance(v, float) and 0 <= v <= 100 for v in found.values())
    assert f"{found['P@1']:.2f}" in out


def test_predict_answers_by_name_in_json_lines(command, run_folder, tmp_path):
    (tmp_path / "texts.txt").write_bytes("w3a w3b\r\n\nw5a\u2028w5b\tw5a\n".encode())
    status, out, _ = command("predict", run_folder, tmp_path / "texts.txt", "-k", 2)
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert len(lines) == 3
    assert lines[0]["labels"][0]["label"] == "w3a w3b"
    assert lines[0]["labels"][0]["id"] == 3
    assert lines[2]["labels"][0]["id"] == 5
    assert lines[0]["labels"][0]["score"] >= lines[0]["labels"][1]["score"]


def test_predict_reads_gz_and_json_and_writes_npz_and_gz(command, run_folder, tmp_path):
    with gzip.open(tmp_path / "t.jsonl.gz", "wt") as file:
        file.write('{"text": "w3a w3b"}\n{"text": "w9a"}\n')
    assert command("predict", run_folder, tmp_path / "t.jsonl.gz", "-o", tmp_path / "p.npz")[0] == 0
    arrays = np.load(tmp_path / "p.npz")
    assert arrays["labels"].shape == arrays["scores"].shape == (2, 10)
    assert arrays["labels"][:, 0].tolist() == [3, 9]
    assert command("predict", run_folder, tmp_path / "t.jsonl.gz", "-o", tmp_path / "p.jsonl.gz")[0] == 0
    with gzip.open(tmp_path / "p.jsonl.gz", "rt") as file:
        assert [json.loads(line)["labels"][0]["id"] for line in file] == [3, 9]


def test_predict_reads_a_pipe(run_folder):
    done = subprocess.run(
        [sys.executable, "-m", "megalabel.cli.main", "predict", str(run_folder), "-k", "1"],
        input="w7a w7b\n",
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["labels"][0]["label"] == "w7a w7b"


def test_prepare_makes_tokens_that_training_uses_and_refuses_stale_ones(command, folder, tmp_path):
    import shutil

    data = tmp_path / "data"
    shutil.copytree(folder, data)
    options = ["--encoder", "bag", "--tokenizer", "words", "--max-length", 16]
    status, out, _ = command("prepare", data, *options)
    assert status == 0
    assert "uint16" in out
    with open(data / "trn_X.txt", "a") as file:
        file.write("w1a\n")
    with open(data / "trn_X_Y.txt") as file:
        lines = file.read().replace("400 64", "401 64")
    (data / "trn_X_Y.txt").write_text(lines + "1:1\n")
    status, _, _ = command("prepare", data, *options)
    assert status == 2
    assert command("prepare", data, *options, "--overwrite")[0] == 0


def test_data_check_and_convert(command, folder, tmp_path):
    status, out, _ = command("data", "check", folder)
    assert status == 0
    assert "400" in out
    assert "64" in out
    assert command("data", "convert", folder, tmp_path / "j", "--to", "jsonl")[0] == 0
    assert command("data", "check", tmp_path / "j")[0] == 0


def test_doctor_says_what_is_there(command):
    _, out, _ = command("doctor")
    assert "torch" in out
    assert "minilm" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "no-such-run", "bundled:wordnet-4k"], "there is no such folder"),
        (["evaluate", "RUN", "no-such-data"], "no-such-data"),
        (["evaluate", "RUN", "bundled:wordnet-4k"], "no label of wordnet-4k"),
        (["evaluate", "RUN", "bundled:wordnet-5k"], "wordnet-4k"),
        (["evaluate", "RUN", "DATA", "--k", "0"], "whole numbers of at least 1"),
        (["evaluate", "RUN", "DATA", "--k", "one"], "whole numbers of at least 1"),
        (["predict", "RUN", "no-such-file"], "no such file"),
        (["predict", "RUN", "DATA/Y.txt", "-k", "0"], "k = 0"),
        (["predict", "RUN", "DATA/Y.txt", "-o", "p.txt"], ".npz"),
        (["predict", "RUN", "DATA/Y.txt", "--device", "gpu"], "doctor"),
        (["train", "renee", "DATA", "-o", "x", "--encoder", "no/such"], "no encoder"),
        (["train", "renee", "DATA", "-o", "x", "--epochs", "0"], "--epochs: 0 is not"),
        (["train", "renee", "DATA", "-o", "RUN", "--encoder", "bag"], "finished"),
        (["train", "renee", "DATA", "-o", "x", "--device", "gpu"], "--device: 'gpu' cannot be used"),
        (["train", "renee", "DATA", "-o", "x", "--threads", "0"], "--threads: 0 is not"),
        (["train", "renee", "DATA", "-o", "x", "--threads", "-1"], "--threads: -1 is not"),
        (["train", "renee", "DATA", "-o", "x", "--head-lr", "nan"], "--head-lr: nan is not"),
        (["train", "renee", "DATA", "-o", "DATA/Y.txt", "--encoder", "bag", "--epochs", "1"], "is a file"),
        (["train", "renee", "DATA", "-o", "DATA/Y.txt/x", "--encoder", "bag", "--epochs", "1"], "Not a directory"),
        (["evaluate", "RUN", "DATA", "--batch-size", "0"], "--batch-size = 0"),
        (["predict", "RUN", "DATA"], "a folder"),
        (["predict", "RUN", "DATA/Y.txt", "-o", "DATA/Y.txt/p.npz"], "DATA/Y.txt"),
        (["predict", "DATA", "DATA/Y.txt"], "a data set (raw), not a run"),
        (["prepare", "bundled:wordnet-4k"], "no folder of its own"),
        (["data", "convert", "DATA", "DATA", "--to", "raw"], "DATA"),
        (["data", "convert", "DATA", "x", "--to", "yaml"], "yaml"),
    ],
)
def test_wrong_input_is_one_line(command, run_folder, folder, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {"RUN": str(run_folder), "DATA": str(folder)}
    arguments = [part.replace("RUN", known["RUN"]).replace("DATA", known["DATA"]) for part in arguments]
    status, _, err = command(*arguments)
    assert status == 2
    assert said.replace("DATA", known["DATA"]) in err
    assert "Traceback" not in err


def test_help_starts_at_once():
    """What decides the start-up time: nothing heavy is imported for --help."""
    code = (
        "import sys; sys.argv = ['megalabel', '--help']\n"
        "from megalabel.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'numba', 'transformers', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout


def test_names_are_written_in_utf8_whatever_the_terminal_takes(run_folder):
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "megalabel.cli.main", "predict", str(run_folder), "-k", "1"]
    done = subprocess.run(command, input=b"w7a w7b\n", capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8"))["labels"][0]["id"] == 7


def test_metrics_of_a_model_folder_go_into_its_run(command, run_folder, folder):
    (run_folder / "metrics.json").unlink(missing_ok=True)
    assert command("evaluate", run_folder / "model", folder)[0] == 0
    assert (run_folder / "metrics.json").exists()
    assert not (run_folder / "model" / "metrics.json").exists()


def test_ctrl_c_says_what_becomes_of_the_run(command, folder, tmp_path, monkeypatch):
    from megalabel.training.log import Log

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Log, "step", stop)
    status, _, err = command("train", "renee", folder, "-o", tmp_path / "r", *TRAIN)
    assert status == 130
    assert "the same command resumes a run that has a checkpoint" in err
    assert "Traceback" not in err


def test_the_quick_start_shows_finished_runs_again(tmp_path, monkeypatch):
    """On the bundled data, with the shortest runs in place of the presets'; the second call trains nothing."""
    from megalabel.cli import quickstart

    short = {
        "linear": ("linear", {"trees": 1}),
        "renee": ("renee", {"encoder": "bag", "epochs": 1, "bigram_min_count": 0, "validation_fraction": 0.05}),
        "hybrid": ("hybrid", {"trees": 1, "joint_trees": 0, "char_ngrams": "no"}),
    }
    monkeypatch.setattr(quickstart, "RUNS", short)
    said: list[str] = []
    quickstart.run_all(tmp_path / "q", "a large striped wild cat of Asia", said.append)
    scores = {name: json.loads((tmp_path / "q" / name / "metrics.json").read_text())["P@1"] for name in short}
    assert scores["renee"] > 20
    assert min(scores["hybrid"], scores["linear"]) > 55
    assert [line.split(",")[0].strip() for line in said[:3]] == [f"{i} of 3: {n}" for i, n in enumerate(short, 1)]
    assert "about" in said[0]
    for name in (*(f"megalabel {name}" for name in short), "omikuji-bonsai"):
        assert name in said[4]
    assert said[-1].split()[:2] == ["label", "probability"]
    before = [line.split()[:8] for line in said[4].splitlines()]
    monkeypatch.setattr("megalabel.cli.jobs.train", lambda *_: pytest.fail("trained again"))
    again: list[str] = []
    quickstart.run_all(tmp_path / "q", "a large striped wild cat of Asia", again.append)
    assert all("trained before" in line for line in again[:3])
    assert [line.split()[:8] for line in again[4].splitlines()] == before
    assert again[5:] == said[5:]


def test_scores_of_other_tools_stand_beside_the_bundled_corpus_only(tmp_path, command, run_folder, folder):
    from megalabel.cli.quickstart import recorded
    from megalabel.data.corpus import Corpus

    tools = recorded(Corpus.bundled("wordnet-4k"))
    assert (tools[0][0], tools[0][1]["P@1"]) == ("pecos-ens3-t01", 59.53)
    assert [row["P@1"] for _, row in tools] == sorted((row["P@1"] for _, row in tools), reverse=True)
    namesake = tmp_path / "wordnet-4k"
    shutil.copytree(folder, namesake)
    assert recorded(Corpus.open(namesake)) == []
    status, out, _ = command("evaluate", run_folder, namesake)
    assert status == 0
    assert not any(tool in out for tool, _ in tools)
