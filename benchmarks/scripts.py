"""P@1 on texts in ten scripts, with and without blanks between words, as each recipe reads them by default.

    python benchmarks/scripts.py [--checkout FOLDER] [--only thai] [--no-record]

The texts are synthetic: 30 labels with two words each and 200 other words, all of 2 to 5 random letters of the
script (English: nouns of WordNet). A text has one word of its label among 7 others, and only that word indicates
the label. There are 1,200 training and 300 test texts. "by hand" are settings that a user might find: a vocabulary
of whole words for the neural recipes, character n-grams for `linear`. `--checkout` runs another working tree of
this repository; its names of options may differ, so that `--by-hand` needs this one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import record

from megalabel.data.corpus import Corpus
from megalabel.metrics.table import table

HERE = Path(__file__).resolve().parents[1]
# Letters of each script, and whether blanks stand between words.
SCRIPTS = {
    "Latin (English)": ("", True),
    "Cyrillic (Russian)": ("абвгдежзиклмнопрстуфхцчшя", True),
    "Greek": ("αβγδεζηθικλμνξοπρστυφχψω", True),
    "Arabic": ("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", True),
    "Devanagari (Hindi)": ("कखगघचछजझटठडढतथदधनपफबभमयरलवशसह", True),
    "Hangul without blanks": ("가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허", False),
    "Han (Chinese)": ("".join(map(chr, range(0x4E00, 0x4E00 + 900, 3))), False),
    "Hiragana (Japanese)": ("あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめも", False),
    "Thai": ("กขคงจฉชซญดตถทธนบปผฝพฟภมยรลวศสหอ", False),
    "Khmer": ("កខគឃងចឆជឈញដឋឌឍណតថទធនបផពភមយរលវសហឡអ", False),
}
SYSTEMS = {
    "linear": ["linear"],
    "renee, bag": ["renee", "--encoder", "bag", "--epochs", "15"],
    "renee, small": ["renee", "--encoder", "small", "--epochs", "15"],
    "cascadexml, bag": ["cascadexml", "--encoder", "bag", "--epochs", "15"],
}
BY_HAND = {
    "linear, by hand": ["linear", "--char-ngrams", "yes"],
    "renee, bag, by hand": ["renee", "--encoder", "bag", "--epochs", "15", "--tokenizer", "words"],
}
LABELS, OTHERS, TRAIN, TEST = 30, 200, 1200, 300


def write(folder: Path, letters: str, blanks: bool) -> None:
    """Writes train.jsonl and test.jsonl."""
    draw = random.Random(0)
    words = (
        {w for w in Corpus.bundled("wordnet-4k").label_texts if w.isalpha() and w.islower()}
        if not letters
        else set()
    )
    while len(words) < 2 * LABELS + OTHERS:
        words.add("".join(draw.choices(letters, k=draw.randint(2, 5))))
    ordered = sorted(words)
    draw.shuffle(ordered)
    ordered = ordered[: 2 * LABELS + OTHERS]
    telling, others = ordered[: 2 * LABELS], ordered[2 * LABELS :]
    folder.mkdir()
    for side, n in (("train", TRAIN), ("test", TEST)):
        with open(folder / f"{side}.jsonl", "w", encoding="utf-8") as file:
            for i in range(n):
                label = i % LABELS
                text = draw.choices(others, k=7)
                text.insert(draw.randint(0, 7), telling[2 * label + draw.randint(0, 1)])
                row = {"text": (" " if blanks else "").join(text), "labels": [f"label {label}"]}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def precision(checkout: Path, data: Path, run: Path, arguments: list[str]) -> float:
    """P@1 in percent of one training."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    module = "megalabel.cli" if (checkout / "megalabel" / "cli.py").exists() else "megalabel.cli.main"  # of 0.1.0
    megalabel = [sys.executable, "-c", f"from {module} import main; main()"]
    train = [
        *megalabel,
        "train",
        arguments[0],
        str(data),
        *arguments[1:],
        "--out",
        str(run),
        "--quiet",
        "--threads",
        "1",
    ]
    subprocess.run(train, cwd=checkout, env=environment, check=True, capture_output=True)
    subprocess.run(
        [*megalabel, "evaluate", str(run), str(data)],
        cwd=checkout,
        env=environment,
        check=True,
        capture_output=True,
    )
    metrics = json.loads((run / "metrics.json").read_text())
    return float(metrics["P@1"] if "P@1" in metrics else metrics["metrics"]["P@1"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, default=HERE)
    parser.add_argument("--only", default="", help="scripts whose name holds this")
    parser.add_argument("--by-hand", action="store_true", help="also the settings by hand")
    parser.add_argument("--no-record", action="store_true")
    given = parser.parse_args()
    systems = SYSTEMS | (BY_HAND if given.by_hand else {})
    rows = []
    for script, (letters, blanks) in SCRIPTS.items():
        if given.only.lower() not in script.lower():
            continue
        values: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder, "data"), letters, blanks)
            for i, (name, arguments) in enumerate(systems.items()):
                values[name] = precision(
                    given.checkout.resolve(), Path(folder, "data"), Path(folder, f"run{i}"), arguments
                )
                if not given.no_record:
                    before = "" if given.checkout == HERE else ", before"
                    row = script, f"{name}{before}", values[name], "% P@1"
                    record.row("scripts", *row, checkout=given.checkout.resolve())
        rows.append((script, values))
        print(table(rows[-1:], list(systems)), flush=True)
    print(table(rows, list(systems), title="P@1"))


if __name__ == "__main__":
    main()
