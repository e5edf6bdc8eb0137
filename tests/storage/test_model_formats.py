"""Format numbers of model folders: a newer one only for what an older release could not read."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from untrained import untrained

import megalabel
from megalabel.data.texts import Texts
from megalabel.errors import FormatError
from megalabel.heads.dense import DenseHead
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.inputs.chunks import Chunking
from megalabel.kernels.linear.compact_chunks import compact
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.models.base import FORMAT, NARROW_FORMAT
from megalabel.models.chunked import ChunkedClassifier
from megalabel.models.linear import LinearClassifier
from megalabel.models.neural import NeuralClassifier
from megalabel.storage.manifest import read_manifest, write_manifest

NAMES = ["a", "b", "c", "d"]


def neural(weights):
    model = untrained(NAMES)
    head = DenseHead(4, 8, weights=weights)
    return NeuralClassifier(model.encoder, head.eval(), model.label_texts, 16)


def linear(weights, rng):
    """One tree without clusters; `weights` None for chunks as they were before they became compact."""
    chunks = Chunks.from_weights(
        sp.random(4, 10, 0.8, format="csr", dtype=np.float32, random_state=rng), np.array([0, 4])
    )
    if weights is not None:
        chunks = compact(chunks, weights)
    tree = SparseBeam([chunks], np.arange(4), (), "l3-hinge")
    return LinearClassifier(BagOfWords(9), [tree], Texts.from_strings(NAMES))


def older_reader(folder):
    """The check of a release that knows format 1 alone."""
    return read_manifest(folder, "model", FORMAT, next_step="train again")


@pytest.mark.parametrize(
    ("kind", "weights", "format"),
    [
        ("neural", "float32", FORMAT), ("neural", "bfloat16", NARROW_FORMAT), ("neural", "float8", NARROW_FORMAT),
        ("linear", None, FORMAT), ("linear", "float32", NARROW_FORMAT), ("linear", "int8", NARROW_FORMAT),
    ],
)  # fmt: skip
def test_only_what_an_older_release_cannot_read_has_a_newer_format(kind, weights, format, rng, tmp_path):
    model = neural(weights) if kind == "neural" else linear(weights, rng)
    model.save(tmp_path / "m")
    assert json.loads((tmp_path / "m" / "manifest.json").read_text())["format"] == format
    assert megalabel.load(tmp_path / "m").label_texts == model.label_texts
    if format == FORMAT:
        assert older_reader(tmp_path / "m")["n_labels"] == 4
        return
    with pytest.raises(FormatError) as caught:
        older_reader(tmp_path / "m")
    assert f"format {format}" in caught.value.found
    assert "newer release of megalabel" in str(caught.value.next_step)  # as it has the same version number


def test_the_folder_of_a_narrow_model_inside_another_one_has_the_newer_format(tmp_path):
    ChunkedClassifier(neural("float8"), Chunking(8)).save(tmp_path / "m")
    assert older_reader(tmp_path / "m")
    with pytest.raises(FormatError, match=r"base"):
        older_reader(tmp_path / "m" / "base")
    assert len(megalabel.load(tmp_path / "m").label_texts) == 4


@pytest.mark.parametrize("format", [0, NARROW_FORMAT + 1, True, 1.0, "1", None])
def test_other_formats_are_refused(format, tmp_path):
    neural("float32").save(tmp_path / "m")
    content = json.loads((tmp_path / "m" / "manifest.json").read_text())
    facts = {k: v for k, v in content.items() if k not in ("format", "version", "sha256", "manifest_sha256")}
    (tmp_path / "m" / "manifest.json").unlink()
    write_manifest(tmp_path / "m", format, facts)
    with pytest.raises(FormatError) as caught:
        megalabel.load(tmp_path / "m")
    assert ("install" in str(caught.value.next_step)) == (format == NARROW_FORMAT + 1)
