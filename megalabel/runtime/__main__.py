"""`python -m megalabel.runtime MODEL`: texts from standard input, JSON lines to standard output."""

from __future__ import annotations

import json
import os
import sys

from .errors import ModelError
from .model import Model, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

USAGE = """usage: python -m {name} MODEL [TEXTS] [-k K] [--scores] [--check]

Writes the best labels of texts as JSON lines. MODEL is a file of `megalabel export`, or the run folder in which it
left one. TEXTS is a file with one text per line; default: standard input.

  -k K       labels per text (default: 10)
  --scores   the model's own scores, also where it has calibrated probabilities
  --check    only compare the file with the hash in its header
"""


def main(arguments: list[str]) -> int:
    """The command; returns its exit status."""
    name = __package__ or "megalabel_runtime"
    if "-h" in arguments or "--help" in arguments:
        sys.stdout.write(USAGE.format(name=name))
        return 0
    try:
        places, k, flags = _parsed(arguments)
        model = load(places[0])
        if "--check" in flags:
            model.verify()
            sys.stdout.write(f"{places[0]}: complete, {model.n_labels:,} labels\n")
            return 0
        probabilities = False if "--scores" in flags else None
        if len(places) == 1 or places[1] == "-":
            _answer(model, sys.stdin.buffer, k, probabilities)
        else:
            with open(places[1], "rb") as source:
                _answer(model, source, k, probabilities)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it at the end
        return 1
    except (ModelError, OSError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _answer(model: Model, source: BinaryIO, k: int, probabilities: bool | None) -> None:
    """Writes a line of JSON for each line of text, as soon as it is there."""
    kind, out = model.answer_type(probabilities), sys.stdout.buffer
    texts = (_text(i, line) for i, line in enumerate(source))
    for row in model.predict_iter(texts, k, probabilities=probabilities):
        labels = [{"label": label, "score": float(f"{score:.6g}")} for label, score in row]
        line = json.dumps({"score_type": kind, "labels": labels}, ensure_ascii=False)
        out.write(line.encode("utf-8", "backslashreplace") + b"\n")
        out.flush()


def _text(i: int, line: bytes) -> str:
    try:
        return line.decode("utf-8" if i else "utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ModelError("not UTF-8", wanted="lines of text in UTF-8", where=f"line {i + 1}") from None


def _parsed(arguments: list[str]) -> tuple[list[str], int, set[str]]:
    """Places, k and flags; ModelError for anything else."""
    places, flags, k, rest = [], set(), "10", iter(arguments)
    for argument in rest:
        if argument in ("--scores", "--check"):
            flags.add(argument)
        elif argument == "-k" or argument.startswith("-k="):
            k = argument[3:] if "=" in argument else next(rest, "")
        elif argument.startswith("-") and argument != "-":
            raise ModelError(f"the option {argument}", wanted="-k, --scores or --check", next_step="see --help")
        else:
            places.append(argument)
    if not 1 <= len(places) <= 2:
        raise ModelError(f"{len(places)} paths", wanted="MODEL, or MODEL and TEXTS", next_step="see --help")
    if not k.isascii() or not k.isdigit() or int(k) < 1:
        raise ModelError(f"-k {k}", wanted="a whole number of at least 1")
    return places, int(k), flags


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
