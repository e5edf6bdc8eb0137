"""`--name`, `--propensity`, `--text-parts` and `--text-separator`: what they do, and what is printed."""

import json

import pytest
from support import layouts
from support.layouts import put

RENEE = (
    "--encoder bag --tokenizer words --max-length 8 --epochs 1 --batch-size 8 --hidden-dim 0 --warmup 0.1 "
    "--validation-fraction 0"
).split()


@pytest.fixture
def titles(tmp_path):
    return put(tmp_path / "LF-AmazonTitles-131K", layouts.lf_json("raw_text/", ""))


def test_train_and_evaluate_print_what_they_took_and_keep_it(titles, tmp_path, command):
    run = tmp_path / "run"
    status, _, err = command("train", "renee", titles / "raw_text", *RENEE, "--out", run)
    assert status == 0 and "the title alone, as LF-AmazonTitles-131K is published" in err
    assert "preset" in err and "LF-AmazonTitles-131K: 24 texts" in err
    status, _, err = command("evaluate", run)
    assert status == 0 and "A = 0.6, B = 2.6 (those of LF-AmazonTitles-131K)" in err
    status, _, err = command("evaluate", run, "--propensity", "0.5,0.4")
    assert status == 0 and "A = 0.5, B = 0.4 (as given)" in err
    status, _, err = command("evaluate", run, "--name", "my-set")  # the model knows what it was trained on
    assert status == 0 and "A = 0.6, B = 2.6 (those of LF-AmazonTitles-131K)" in err


def test_a_run_remembers_how_its_data_were_opened(titles, tmp_path, command):
    said = ["--name", "my-set", "--propensity", "0.7,3", "--text-parts", "both", "--text-separator", "[SEP]"]
    run = tmp_path / "run"
    assert command("train", "renee", titles, *RENEE, "--out", run, *said)[0] == 0
    data = json.loads((run / "recipe.json").read_text())["data"]
    assert data["name"] == "my-set"
    assert data["opened"] == {"text_parts": "both", "text_separator": "[SEP]", "propensity": [0.7, 3.0]}
    status, _, err = command("evaluate", run)
    assert status == 0 and "joined by ' [SEP] '" in err and "A = 0.7, B = 3 (as given)" in err
    status, _, err = command("train", "--from", run, "--out", tmp_path / "again")
    assert status == 0
    again = json.loads((tmp_path / "again" / "recipe.json").read_text())["data"]
    assert again == data


def test_the_preset_of_another_name(titles, command):
    status, out, _ = command("train", "spartex", titles, "--name", "Wiki-500K", "--print-config")
    assert status == 0 and "spartex on Wiki-500K" in out
    assert out != command("train", "spartex", titles, "--print-config")[1]


def test_data_check_and_convert_take_the_options(titles, tmp_path, command):
    status, out, _ = command("data", "check", titles)
    assert status == 0 and "published with 131,073" in out and "those of LF-AmazonTitles-131K" in out
    status, out, _ = command("data", "check", titles, "--name", "mine", "--propensity", "1,2")
    assert status == 0 and "published" not in out.replace("as it is published", "") and "A = 1, B = 2" in out
    out_folder = tmp_path / "out"
    assert command("data", "convert", titles, out_folder, "--to", "jsonl", "--text-parts", "content")[0] == 0
    assert json.loads((out_folder / "train.jsonl").read_text().splitlines()[0])["text"] == "made of leather 0"


@pytest.mark.parametrize(
    "said, message",
    [
        (["--propensity", "0.5"], "--propensity = 0.5"),
        (["--propensity", "a,b"], "--propensity: 'a,b' is not two numbers"),
        (["--propensity", "0.5,nan"], "--propensity = 0.5,nan"),
        (["--propensity", "0,1"], "--propensity = 0,1"),
        (["--text-parts", "titles"], "--text-parts: 'titles' is not one of title, content, both"),
    ],
)
def test_bad_values_name_their_option(titles, command, said, message):
    status, _, err = command("data", "check", titles, *said)
    assert status == 2 and message in err


def test_prepare_prints_the_recipe_and_refuses_one_without_tokens(titles, command):
    small = ["--encoder", "bag", "--max-length", "8", "--tokenizer", "words"]
    status, _, err = command("prepare", titles, *small, "--name", "Wiki10-31K", "--recipe", "cascadexml")
    assert status == 0 and "cascadexml" in err and "8 tokens" in err
    status, _, err = command("prepare", titles, *small)
    assert status == 0 and "renee" in err
    assert command("prepare", titles, "--recipe", "linear")[0] == 2


def test_a_tree_over_the_bag_of_words_beside_the_texts(tmp_path, command):
    put(tmp_path / "bow", {"train.txt": layouts.bag()})
    texts = put(tmp_path / "set", layouts.lf_json("", ""))
    assert command("tree", "build", tmp_path / "bow", "--out", tmp_path / "tree")[0] == 0
    status, _, err = command("tree", "show", tmp_path / "tree", "--data", texts, "--text-parts", "title")
    assert status == 0 and "title alone" in err


def test_formats_are_listed(command):
    status, out, _ = command("data", "formats")
    assert status == 0 and all(name in out for name in ("cascadexml", "spartex", "pecos", "fasttext"))
