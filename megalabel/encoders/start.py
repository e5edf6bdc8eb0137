"""The bundled start of the light encoders: token vectors distilled from all-MiniLM-L6-v2, and its tokenizer.

`scripts/distil_bag_start.py` made the files in `start/`; their NOTICE says from what.
"""

from __future__ import annotations

from importlib.resources import as_file, files

from torch import Tensor

from megalabel.data.tokenize import TextTokenizer
from megalabel.errors import FormatError
from megalabel.files import read_json, sha256
from megalabel.tensors import load_tensors

AGAIN = "reinstall megalabel"


def start_vectors() -> Tensor:
    """(30522, 256) float32 of standard deviation 0.9, columns by falling variance; its hash checked."""
    with as_file(files("megalabel.encoders").joinpath("start")) as folder:
        digest = read_json(folder / "manifest.json", next_step=AGAIN)["sha256"]["table.safetensors"]
        path = folder / "table.safetensors"
        if sha256(path) != digest:
            raise FormatError(
                "the file is not what the manifest says",
                wanted=f"SHA-256 {digest[:12]}…",
                next_step=AGAIN,
                where=path,
            )
        table = load_tensors(path, next_step=AGAIN)
    return table["rows"].float() * table["scales"].unsqueeze(1)


def start_tokenizer() -> TextTokenizer:
    """Word pieces of bert-base-uncased, without the special tokens that only a transformer reads."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    text = files("megalabel.encoders").joinpath("start/tokenizer.json").read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_str(text)
    tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    return TextTokenizer(tokenizer, pad_id=0)
