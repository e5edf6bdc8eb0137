"""Ways to damage a folder that megalabel wrote, by chance or on purpose; `fuzz_models.py` applies them."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from megalabel.storage import manifest as stored
from megalabel.storage.files import sha256

SECRET = "secret"  # a file outside of the folder that no reader may open
HOSTILE = [
    None, True, False, 0, 1, -1, 2, 255, 2**31, 10**8, 10**12, -(10**12), 2**63, 10**30, 0.5, -1e-300, 1e308,
    float("inf"), float("nan"), "", "x", "0", "é\ud800", "a" * 100_000, [], {}, [[]], [None], {"": None},
    [1] * 1000, "../{secret}", "/{secret}", "{secret}", "file://{secret}", "evil", "evil:Evil", "os:system",
    "subprocess:Popen", "megalabel.__main__:main", "megalabel.cli.main:app", "megalabel.models.base:Classifier",
    "builtins:exec", "megalabel.encoders.base:Encoder", "megalabel.models.ensemble:Ensemble",
    "megalabel.models.linear:LinearClassifier", "megalabel.models.neural:NeuralClassifier",
    "megalabel.models.hybrid:HybridClassifier", "megalabel.heads.dense:DenseHead",
    "megalabel.heads.cascade:CascadeHead", "megalabel.encoders.bag:Bag", "megalabel.encoders.frozen:Frozen",
    "megalabel.encoders.transformer:Transformer", "align_text_model", "mean", "gpt2", "t5", "bert",
]  # fmt: skip
HOSTILE_KEYS: dict[str, Any] = {
    "auto_map": {"AutoModel": "{folder}--evil.Evil", "AutoConfig": "evil.Evil"}, "trust_remote_code": True,
    "attn_implementation": "evil/kernel", "_attn_implementation": "flash_attention_2",
    "model_type": "align_text_model", "_name_or_path": "{secret}", "use_kernels": True,
    "quantization_config": {"quant_method": "bitsandbytes"},
    "torch_dtype": "evil", "views": 10**12, "parts": 10**12, "files": "../{secret}", "base": "../{secret}",
    "num_hidden_layers": 10**9, "hidden_size": 10**8, "unk_token": "[MISSING]", "class": "evil:Evil",
}  # fmt: skip
HEADERS = [
    (b"<i8", b"<u8"), (b"<f4", b"|O4"), (b"<i8", b"<f8"), (b"False", b"True "), (b"(", b"(9"), (b",)", b"9,)"),
    (b"<i4", b"<f4"), (b"<f4", b"<i4"),
]  # fmt: skip
Random = random.Random


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _filled(value: Any, folder: Path) -> Any:
    """A hostile value with the paths of this folder in it."""
    if isinstance(value, str):
        return value.replace("{secret}", str(folder.parent / SECRET)).replace("{folder}", str(folder))
    if isinstance(value, dict):
        return {key: _filled(inside, folder) for key, inside in value.items()}
    return value


def flip_bits(folder: Path, rng: Random) -> str:
    """Flips one bit or a few."""
    path = rng.choice(_files(folder))
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 1, 8])):
        if content:
            content[rng.randrange(min(len(content), rng.choice([64, 1 << 30])))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"bits of {path.relative_to(folder)}"


def cut_or_fill(folder: Path, rng: Random) -> str:
    """Empties, cuts, lengthens or fills a file."""
    path = rng.choice(_files(folder))
    n = len(content := path.read_bytes())
    made = [
        b"",
        content[: rng.randrange(n + 1)],
        content + content[:99],
        bytes(n),
        rng.randbytes(n),
        b"[" * 99_999,
    ]
    path.write_bytes(rng.choice(made))
    return f"content of {path.relative_to(folder)}"


def special(folder: Path, rng: Random) -> str:
    """Puts a pipe, a link, a folder or nothing in the place of a file."""
    path = rng.choice(_files(folder))
    secret, kind = folder.parent / SECRET, rng.randrange(7)
    path.unlink()
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind <= 5:
        targets = ["/dev/zero", "/dev/stdin", str(secret), path.name]
        path.symlink_to(targets[kind - 2])
    return f"{path.relative_to(folder)} as special {kind}"


def swap(folder: Path, rng: Random) -> str:
    """Exchanges two files."""
    one, two = (rng.choice(_files(folder)) for _ in range(2))
    a, _ = one.read_bytes(), one.write_bytes(two.read_bytes())
    two.write_bytes(a)
    return f"{one.relative_to(folder)} for {two.relative_to(folder)}"


def outside(folder: Path, rng: Random) -> str:
    """A link to outside in the place of a folder inside, or a copy of the folder in itself."""
    inside = [path for path in folder.iterdir() if path.is_dir()]
    if not inside:
        return special(folder, rng)
    path = rng.choice(inside)
    elsewhere = folder.parent / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(rng.choice([str(elsewhere), ".", ".."]))
    return f"{path.name} as a link"


def edit_json(folder: Path, rng: Random) -> str:
    """Changes values, keys or both of a JSON file."""
    found = [path for path in _files(folder) if path.suffix == ".json"]
    path = rng.choice([path for path in found if path.name == stored.NAME] if rng.random() < 0.6 else found)
    try:
        value = json.loads(path.read_text())
    except ValueError:
        return flip_bits(folder, rng)
    said = [_edit(value, rng, folder) for _ in range(rng.choice([1, 1, 1, 2, 4]))]
    path.write_text(json.dumps(value))
    return f"{path.relative_to(folder)}: {'; '.join(said)[:200]}"


def _edit(value: Any, rng: Random, folder: Path) -> str:
    """Changes one place of a JSON value."""
    places = list(_places(value))
    at, key = rng.choice(places) if places else (value, None)
    kind = rng.randrange(6)
    hostile = _filled(rng.choice(HOSTILE), folder)
    if kind == 0 and isinstance(at, dict):
        name = rng.choice(list(HOSTILE_KEYS))
        at[name] = _filled(HOSTILE_KEYS[name], folder)
        return f"added {name}"
    if key is None:
        return "nothing"
    if kind == 1:
        del at[key]
        return f"without {key}"
    if kind == 2 and isinstance(at, dict):
        at[f"{key}x"] = at.pop(key)
        return f"{key} renamed"
    at[key] = at[key] + rng.choice([-1, 1, 10**6]) if kind == 3 and isinstance(at[key], int) else hostile
    return f"{key} = {at[key]!r:.60}"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All keys of objects and places of lists; of long ones the first."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value))[:60]
    for key, inside in items:
        yield value, key
        if isinstance(inside, (dict, list)):
            yield from _places(inside)


def edit_numbers(folder: Path, rng: Random) -> str:
    """Changes the header or the numbers of an array or of tensors."""
    found = [path for path in _files(folder) if path.suffix in (".npy", ".safetensors")]
    if not found:
        return flip_bits(folder, rng)
    path = rng.choice(found)
    content = path.read_bytes()
    if path.suffix == ".npy":
        n = 10 + struct.unpack("<H", content[8:10])[0]
        header, numbers = content[:n], bytearray(content[n:])
        if rng.random() < 0.5:
            old, new = rng.choice(HEADERS)
            header = header.replace(old, new, 1)
    else:
        n = 8 + struct.unpack("<Q", content[:8])[0]
        header, numbers = content[:n], bytearray(content[n:])
        if rng.random() < 0.4:
            value = json.loads(header[8:])
            _edit(value, rng, folder)
            text = json.dumps(value).encode()
            header = struct.pack("<Q", len(text)) + text
    if rng.random() < 0.6 and len(numbers) >= 8:
        for _ in range(rng.choice([1, 3, 50])):
            at = rng.randrange(len(numbers) // 4) * 4
            raw = rng.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f", rng.randbytes(4)]
            )
            numbers[at : at + 4] = raw
    path.write_bytes(header + numbers)
    return f"numbers of {path.relative_to(folder)}"


def edit_lines(folder: Path, rng: Random) -> str:
    """Changes a line of a text file."""
    found = [path for path in _files(folder) if path.suffix == ".jsonl"]
    if not found:
        return edit_json(folder, rng)
    path = rng.choice(found)
    lines = path.read_bytes().split(b"\n")
    wrong = [
        b"",
        b"5",
        b"null",
        b'"\xff"',
        b"[" * 5000,
        b"9" * 5000,
        b'{"step": "x"}',
        b'"\\ud800"',
        lines[0] + lines[-1],
    ]
    at = rng.randrange(len(lines))
    lines[at : at + rng.choice([0, 1, 2])] = [rng.choice(wrong)]
    path.write_bytes(b"\n".join(lines))
    return f"line {at} of {path.relative_to(folder)}"


KINDS: list[Callable[[Path, Random], str]] = [
    flip_bits, cut_or_fill, special, swap, outside, edit_json, edit_json, edit_json, edit_json, edit_numbers,
    edit_numbers, edit_lines,
]  # fmt: skip


def mutate(folder: Path, rng: Random) -> tuple[str, bool]:
    """Damages a folder; what was done, and whether the hashes say so no longer."""
    done = rng.choice(KINDS)(folder, rng)
    again = rng.random() < 0.7
    if again:
        for path in sorted(folder.rglob(stored.NAME), key=lambda path: -len(path.parts)):  # the inner ones first
            _hash_again(path)
    return done, again


def _hash_again(path: Path) -> None:
    """Makes a manifest say what lies in its folder, as somebody does who means harm."""
    try:
        content = json.loads(path.read_text()) if path.is_file() and not path.is_symlink() else None
    except (ValueError, RecursionError):
        return
    if not isinstance(content, dict) or not isinstance(content.get("sha256"), dict):
        return
    for name in content["sha256"]:
        inside = path.parent / name if "\0" not in name and len(name) < 200 else path
        if inside.is_file():
            content["sha256"][name] = sha256(inside) if inside.resolve().exists() else ""
    if stored.DIGEST in content:
        content[stored.DIGEST] = stored._digest(content)
    path.write_text(json.dumps(content))
