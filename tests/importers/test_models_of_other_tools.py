"""Models of other tools, whose scores `scripts/foreign_models.py` has stored beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import megalabel
from megalabel.errors import FormatError, SettingError
from megalabel.importers import read_model

FOREIGN = Path(__file__).parents[1] / "data" / "foreign"
ADDED = 1e-5  # by fastText to each probability that it returns


def stored(tool: str):
    return json.loads((FOREIGN / tool / "answers.json").read_text(encoding="utf-8"))


def rows_of(asked) -> sp.csr_matrix:
    cells = [(i, int(column), value) for i, row in enumerate(asked) for column, value in row.items()]
    rows, columns, values = zip(*cells, strict=True)
    return sp.csr_matrix((values, (rows, columns)), shape=(len(asked), 120))


def assert_equal_scores(found, wanted, tolerance):
    """The wanted labels have the wanted scores, and are the best ones up to near ties."""
    for row, answers in zip(found, wanted, strict=True):
        scores = dict(row)
        assert [scores[label] for label, _ in answers] == pytest.approx([s for _, s in answers], abs=tolerance)
        assert [score for _, score in row[: len(answers)]] == pytest.approx([s for _, s in answers], abs=tolerance)


@pytest.mark.parametrize("loss", ["softmax", "hs", "ova", "ns"])
def test_a_model_of_fasttext_gives_its_probabilities_to_texts(loss, tmp_path):
    known = stored("fasttext")
    read_model(FOREIGN / "fasttext" / f"{loss}.bin").save(tmp_path / "model")
    model = megalabel.load(tmp_path / "model")
    wanted = [[(label.removeprefix("__label__"), score) for label, score in row] for row in known["answers"][loss]]
    found = model.predict(known["texts"], k=len(model.label_texts))
    assert_equal_scores(found, wanted, 1.1 * ADDED)


def test_a_model_of_fasttext_leaves_out_pairs_and_cuts_to_k():
    model = read_model(FOREIGN / "fasttext" / "hs.bin")
    best = model.topk(["purr paw"], 3)
    without = model.topk(["purr paw"], 2, exclude=np.array([[0, best.ids[0, 0]]]))
    assert without.ids.tolist() == best.ids[:, 1:].tolist()


@pytest.mark.parametrize(
    ("tool", "kind"), [("omikuji", "balanced"), ("omikuji", "unbalanced"), ("pecos", "xlinear")]
)
def test_a_model_of_label_trees_gives_the_probabilities_of_the_tool_to_rows(tool, kind, tmp_path):
    known = stored(tool)
    read_model(FOREIGN / tool / kind).save(tmp_path / "model")
    model = megalabel.load(tmp_path / "model")
    found = model.topk(rows_of(known["rows"]), 20)
    wanted = [[(str(label), score) for label, score in row if score > 0] for row in known["answers"][kind]]
    assert_equal_scores(found, wanted, 1e-6)


def project(folder: Path, backend: str, source: Path) -> Path:
    """A project of Annif with a vocabulary of 20 subjects beside it."""
    made = folder / "projects" / "mine"
    made.mkdir(parents=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, made / backend)
    (folder / "vocabs" / "v").mkdir(parents=True)
    lines = [
        "uri,notation,label_fi,label_en",
        *(f"urn:{i},N{i},aihe {i},subject {i}" for i in range(19)),
        "urn:19,,,",
    ]
    (folder / "vocabs" / "v" / "subjects.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def test_the_subjects_of_an_annif_project_name_its_labels(tmp_path):
    made = project(tmp_path, "omikuji-model", FOREIGN / "omikuji" / "unbalanced")
    model = read_model(made, language="fi")
    known = stored("omikuji")
    label, score = known["answers"]["unbalanced"][0][0]
    assert model.topk(rows_of(known["rows"]))[0][0] == (f"aihe {label}", pytest.approx(score, abs=1e-6))
    assert model.label_texts[label] == f"aihe {label}" and model.metadata.uri(label) == f"urn:{label}"
    assert model.label_texts[19] == "urn:19"
    (tmp_path / "vocabs" / "w").mkdir()
    shutil.copy(tmp_path / "vocabs" / "v" / "subjects.csv", tmp_path / "vocabs" / "w")
    with pytest.raises(SettingError) as caught:
        read_model(made)
    assert caught.value.where == "labels"


def test_the_command_writes_a_model_that_predicts(tmp_path, command):
    status, printed, said = command("import", FOREIGN / "fasttext" / "softmax.bin", "--out", tmp_path / "model")
    assert status == 0 and "6 labels" in printed, said
    assert megalabel.load(tmp_path / "model").predict(["purr mew"], k=1)[0][0][0] == "cat"


SOURCES = [
    "fasttext/ova.bin", "omikuji/balanced/tree0.cbor", "omikuji/balanced/settings.json",
    "pecos/xlinear/ranker/2.model/W.npz", "pecos/xlinear/ranker/1.model/C.npz",
    "pecos/xlinear/ranker/1.model/param.json",
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_damaged_files_are_format_errors_or_models(source, tmp_path):
    model = "/".join(source.split("/")[:2])
    target = tmp_path / "copy"
    draw = np.random.default_rng(0)
    content = (FOREIGN / source).read_bytes()
    if (FOREIGN / model).is_dir():
        shutil.copytree(FOREIGN / model, target)
    file = target / source.removeprefix(model + "/") if target.exists() else target
    for i in range(40):
        damaged = bytearray(content[: draw.integers(len(content))] if i % 2 else content)
        for at in draw.integers(max(len(damaged), 1), size=3 if damaged else 0):
            damaged[at] = draw.integers(256)
        file.write_bytes(bytes(damaged))
        try:
            read_model(target)
        except FormatError as error:
            assert error.where is not None


@pytest.mark.parametrize("kind", ["nothing", "an empty folder", "vectors of words", "another file"])
def test_what_is_no_model_is_a_format_error(kind, tmp_path):
    path = tmp_path / "x"
    if kind == "an empty folder":
        path.mkdir()
    elif kind == "vectors of words":
        path = path.with_suffix(".vec")
        path.write_text("2 2\na 1 2\nb 3 4\n")
    elif kind == "another file":
        path.write_bytes(b"\x00" * 100)
    with pytest.raises(FormatError) as caught:
        read_model(path)
    assert (".bin" in (caught.value.next_step or "")) == (kind == "vectors of words")


def test_more_labels_than_names_are_refused(tmp_path):
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    for model in ("fasttext/hs.bin", "omikuji/balanced", "pecos/xlinear"):
        with pytest.raises(FormatError) as caught:
            read_model(FOREIGN / model, tmp_path / "names.txt")
        assert caught.value.where == "labels"  # the model is as it should be
    for names in (None, tmp_path / "names.txt"):
        with pytest.raises(FormatError):
            read_model(FOREIGN / "fasttext" / "hs.bin", names, language="fi")


@pytest.mark.parametrize("blank", ["", "  ", "\u2003\t"])
def test_a_line_without_a_name_is_refused_by_its_number(blank, tmp_path, command):
    file = tmp_path / "names.txt"
    file.write_text("\n".join(["one", "two", blank, "four", "five", "six"]) + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match="line 3 of 6 holds no name"):
        read_model(FOREIGN / "fasttext" / "softmax.bin", file)
    model = tmp_path / "model"
    status, _, said = command("import", FOREIGN / "fasttext" / "softmax.bin", "-o", model, "--labels", file)
    assert status == 2 and "line 3" in said and not model.exists()


def test_a_blank_name_of_a_subject_is_none(tmp_path):
    made = project(tmp_path, "omikuji-model", FOREIGN / "omikuji" / "unbalanced")
    file = tmp_path / "vocabs" / "v" / "subjects.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    names = lines[0].split(",")
    cells = dict(zip(names, lines[1].split(","), strict=True))
    lines[1] = ",".join("  " if name.startswith("label_") else cells[name] for name in names)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read_model(made).label_texts[0] == cells["uri"]
    lines[1] = ",".join(" " if name == "uri" else cells[name] for name in names)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match="without a URI"):
        read_model(made)


def test_a_name_of_several_labels_is_said(tmp_path, command):
    file = tmp_path / "names.txt"
    file.write_text("one\ntwo\none\nfour\nfive\nfour\n", encoding="utf-8")
    source = FOREIGN / "fasttext" / "softmax.bin"
    status, _, said = command("import", source, "-o", tmp_path / "model", "--labels", file)
    assert status == 0 and "2 names belong to several labels, such as 'one'" in said


def test_a_name_may_hold_separators_of_lines_other_than_newlines(tmp_path):
    names = ["one\u2028half", "two\x0bthirds", "three\x85", "four", " five", "six"]
    (tmp_path / "names.txt").write_bytes("\r\n".join([*names, ""]).encode())
    model = read_model(FOREIGN / "fasttext" / "softmax.bin", tmp_path / "names.txt")
    assert list(model.label_texts) == names
