"""The bundled token vectors of the light encoders, distilled from all-MiniLM-L6-v2, and its tokenizer.

`scripts/distil_bag_start.py` made the files in `start/`, whose NOTICE names their sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from torch import Tensor

from megalabel.errors import FormatError
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.storage.files import read_json, sha256
from megalabel.storage.tensors import load_tensors

REINSTALL = "reinstall megalabel"


def start_vectors() -> Tensor:
    """The bundled vectors, (30522, 256) float32 with standard deviation 0.9 and columns by descending variance.

    Raises:
        FormatError: the file is missing or has another hash than the manifest says.
    """
    with _checked("table.safetensors") as path:
        table = load_tensors(path, next_step=REINSTALL)
    return table["rows"].float() * table["scales"].unsqueeze(1)


def start_tokenizer() -> TextTokenizer:
    """The WordPiece tokenizer of bert-base-uncased, without the special tokens that only a transformer reads.

    Raises:
        FormatError: the file is missing or has another hash than the manifest says.
    """
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    with _checked("tokenizer.json") as path:
        tokenizer = Tokenizer.from_file(str(path))
    tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    return TextTokenizer(tokenizer, pad_id=0)


@contextmanager
def _checked(name: str) -> Iterator[Path]:
    """Yields a file of `start/`; FormatError if it is missing or has another hash than the manifest says."""
    with as_file(files("megalabel.encoders").joinpath("start")) as folder:
        digest = read_json(folder / "manifest.json", next_step=REINSTALL)["sha256"][name]
        path = folder / name
        if not path.is_file() or sha256(path) != digest:
            raise FormatError(
                "the file is missing or has changed",
                wanted=f"SHA-256 {digest[:12]}…",
                next_step=REINSTALL,
                where=path,
            )
        yield path
