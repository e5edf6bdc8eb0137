import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from megalabel.encoders import start
from megalabel.errors import FormatError
from megalabel.storage.files import sha256

BUNDLED = Path(str(files("megalabel.encoders"))) / "start"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch) -> Path:
    """A copy of the bundled start that a test may spoil, put in its place."""
    folder = Path(shutil.copytree(BUNDLED, tmp_path / "start"))
    monkeypatch.setattr(start, "files", lambda package: tmp_path)
    return folder


def test_every_bundled_file_is_what_the_manifest_says():
    manifest = json.loads((BUNDLED / "manifest.json").read_text())
    assert {p.name for p in BUNDLED.iterdir()} == {*manifest["sha256"], "manifest.json"}
    assert {name: sha256(BUNDLED / name) for name in manifest["sha256"]} == manifest["sha256"]
    assert manifest["derived_from"]["license"] == "Apache-2.0"


def test_the_vectors_have_the_promised_shape_and_scale():
    vectors = start.start_vectors()
    assert vectors.shape == (30522, 256)
    assert vectors.dtype == torch.float32
    assert torch.isfinite(vectors).all()
    assert abs(float(vectors.std()) - 0.9) < 0.01
    spread = vectors.var(0)
    assert (spread[:-1] >= spread[1:] * 0.95).all()  # by falling variance, up to int8 rounding


def test_like_words_have_like_vectors():
    vectors = torch.nn.functional.normalize(start.start_vectors(), dim=1)
    king, queen, carburetor = (
        vectors[start.start_tokenizer().encode([word], 8)[0]].mean(0) for word in ("king", "queen", "carburetor")
    )
    assert king @ queen > king @ carburetor + 0.1


def test_the_tokenizer_adds_no_special_tokens():
    tokenizer = start.start_tokenizer()
    assert tokenizer.vocabulary_size == 30522
    assert tokenizer.pad_id == 0
    (ids,) = tokenizer.encode(["A tiger, again"], 16)
    assert [tokenizer.tokenizer.id_to_token(i) for i in ids] == ["a", "tiger", ",", "again"]
    assert tokenizer.encode([""], 16) == [[]]


@pytest.mark.parametrize(
    ("name", "load"), [("table.safetensors", start.start_vectors), ("tokenizer.json", start.start_tokenizer)]
)
def test_a_damaged_or_missing_file_is_refused(copy, name, load):
    load()
    path = copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match=name):
        load()
    path.unlink()
    with pytest.raises(FormatError, match="missing"):
        load()


def test_a_damaged_manifest_is_refused(copy):
    (copy / "manifest.json").write_text("{")
    with pytest.raises(FormatError, match="damaged"):
        start.start_vectors()


def test_the_scales_belong_to_the_rows():
    from safetensors.torch import load_file

    raw = load_file(BUNDLED / "table.safetensors")
    row = 4937
    by_hand = raw["rows"][row].double() * raw["scales"][row].double()
    assert torch.allclose(start.start_vectors()[row].double(), by_hand, atol=1e-6)
