"""Texts in scripts that the bundled word pieces do not cover, or without blanks, are learned by every recipe."""

import json
import random

import pytest

LATIN = ["cat", "dog", "fish", "bird", "horse", "cow"]
SCRIPTS = {
    "chinese": (
        list("猫狗鱼鸟马牛"),
        ["我", "喜欢", "非常", "看见", "在", "家", "今天", "和", "大", "花园"],
    ),
    "thai": (
        "แมว สุนัข ปลา นก ม้า วัว".split(),
        "ฉัน ชอบ มาก เห็น ใน บ้าน วันนี้ และ ตัว ใหญ่ ที่ สวน".split(),
    ),
    "khmer": ("ឆ្មា ឆ្កែ ត្រី បក្សី សេះ គោ".split(), "ខ្ញុំ ចូលចិត្ត ឃើញ ផ្ទះ ថ្ងៃនេះ ធំ សួន".split()),
    "korean": ("고양이 강아지 물고기 새들 말들 황소".split(), "나는 좋아 매우 보다 집에 오늘 그리고 정원".split()),
    "emoji": (list("🐱🐶🐟🐦🐴🐮"), list("🏠🌞🌳🌷🍎🚗🎈⭐")),
}


def write(folder, script, english=False):
    """A data set of six labels, each told by one word among five others; half of it may be English."""
    folder.mkdir()
    topics, fill = SCRIPTS[script]
    for side, n, seed in (("train", 240, 1), ("test", 60, 2)):
        draw = random.Random(seed)
        with open(folder / f"{side}.jsonl", "w", encoding="utf-8") as file:
            for i in range(n):
                label = draw.randrange(6)
                latin = english and i % 2 == 1
                words = draw.choices(
                    "i like very much see in house today and big garden".split() if latin else fill, k=5
                )
                words.insert(draw.randrange(1, 5), LATIN[label] if latin else topics[label])
                text = (" " if latin else "").join(words)
                record = {"text": text, "labels": [f"L{label}"]}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return folder


def precision(command, data, run, recipe, *options):
    assert command("train", recipe, data, "--out", run, *options)[0] == 0
    assert command("evaluate", run, data)[0] == 0
    return json.loads((run / "metrics.json").read_text())["P@1"]


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script != "emoji"])
def test_linear(command, tmp_path, script):
    assert precision(command, write(tmp_path / "d", script), tmp_path / "r", "linear") > 90


def test_linear_reads_emoji_where_it_is_told_and_says_so_otherwise(command, tmp_path):
    data = write(tmp_path / "d", "emoji")
    status, _, err = command("train", "linear", data, "--out", tmp_path / "none")
    assert status == 2 and "no text has a word" in err and "--token-pattern words" in err
    assert precision(command, data, tmp_path / "r", "linear", "--token-pattern", "words") > 90
    mixed = write(tmp_path / "mixed", "emoji", english=True)
    status, _, err = command("train", "linear", mixed, "--out", tmp_path / "half")
    assert status == 0 and "emoji: not read, though 50% of the texts have some (--token-pattern words" in err
    assert "emoji:" not in command("train", "linear", write(tmp_path / "t", "thai"), "--out", tmp_path / "x")[2]


@pytest.mark.parametrize("script", ["chinese", "thai", "emoji"])
def test_a_bag(command, tmp_path, script):
    data = write(tmp_path / "d", script)
    assert precision(command, data, tmp_path / "r", "renee", "--encoder", "bag", "--epochs", "15") > 90


@pytest.mark.slow
def test_a_cascade(command, tmp_path):
    data = write(tmp_path / "d", "chinese")
    options = ("--encoder", "bag", "--epochs", "15")
    assert precision(command, data, tmp_path / "r", "cascadexml", *options) > 90


@pytest.mark.parametrize("recipe", ["linear", "renee"])
def test_half_of_the_texts_are_english(command, tmp_path, recipe):
    data = write(tmp_path / "d", "thai", english=True)
    options = ("--encoder", "bag", "--epochs", "15") if recipe == "renee" else ()
    assert precision(command, data, tmp_path / "r", recipe, *options) > 90
