"""Valid data sets of every format, and mutations of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

TEXTS = ["a cat", "two\tdogs", "drei Vögel", "ein Fisch, naß", "日本の馬", "x"]
ROWS = [["animals", "pets"], ["animals"], [], ["birds"], ["animals", "farm animals"], ["pets"]]
NAMES = ["animals", "pets", "birds", "farm animals"]
PIECES = [
    b"9" * 5000, b"[" * 3000, b"{" * 50, b'"', b"'", b"\\", b"\\ud800", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\r", b"\r\n",
    b"\n\n\n", b"\t", b"|", b";", b", ", b"[]", b"{}", b"null", b"NaN", b"-1", b"1e999", b"99999999999",
    b"2147483647", b"700123",
    b"0", b"1", b":", b":1", b":1.0", b":1." + b"0" * 500, b"\xc3", b"\xe2\x80\xa8", b"\x1f\x8b",
    b"PK\x03\x04", b"<u:1>", b"true", b'["a"]', b"{'a', 'b'}", b"np.str_('a')", b'{"text":"q","labels":[]}',
    b"3 4 5\n", b"[0, 1, 0]", b"...",
]  # fmt: skip


class Input(NamedTuple):
    """A data set to open: its files by name, how it was made, and which of its files is mutated."""

    format: str
    seed: int
    files: dict[str, bytes]


def _lines(rows: list[object]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _csv(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([["text", "labels"], *zip(TEXTS, cells, strict=True)])
    return out.getvalue().encode()


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS, "labels": ROWS}), out, compression="none")
    return out.getvalue()


def valid() -> dict[str, dict[str, bytes]]:
    """A small valid data set of each format, as its files."""
    ids = [[NAMES.index(name) for name in row] for row in ROWS]
    records = [{"text": text, "labels": row} for text, row in zip(TEXTS, ROWS, strict=True)]
    numbered = [{"text": text, "labels": row} for text, row in zip(TEXTS, ids, strict=True)]
    flags = [{"text": t, "labels": [int(i in row) for i in range(4)]} for t, row in zip(TEXTS, ids, strict=True)]
    titles = [{"title": t, "content": "c", "target_ind": row} for t, row in zip(TEXTS, ids, strict=True)]
    plain, names = "".join(t + "\n" for t in TEXTS).encode(), "".join(n + "\n" for n in NAMES).encode()
    rows = "".join(" ".join(f"{i}:1.0" for i in row) + "\n" for row in ids).encode()
    return {
        "raw": {"trn_X.txt": plain, "trn_X_Y.txt": b"6 4\n" + rows, "Y.txt": names},
        "raw without names": {"trn_X.txt": plain, "trn_X_Y.txt": rows.replace(b":1.0", b""), "tst_X.txt": b"t\n",
                              "tst_X_Y.txt": b"0 9\n"},
        "lf-json": {"trn.json": _lines(list(titles)), "lbl.json": _lines([{"title": name} for name in NAMES])},
        "jsonl": {"train.jsonl": _lines(list(records)), "test.jsonl": _lines(list(records[:2]))},
        "jsonl of ids": {"train.jsonl": _lines(list(numbered)), "labels.txt": names},
        "jsonl of flags": {"train.jsonl": _lines(list(flags))},
        "json document": {"train.json": json.dumps(records, indent=1).encode()},
        "csv": {"train.csv": _csv(["|".join(row) for row in ROWS])},
        "csv with commas": {"train.csv": _csv([", ".join(row) for row in ROWS]), "labels.txt": names},
        "csv of lists": {"train.csv": _csv([str(row) for row in ROWS])},
        "parquet": {"train.parquet": _parquet()},
        "annif": {
            "train.tsv": "".join(f"{t.replace(chr(9), ' ')}\t{' '.join(f'<u:{i}>' for i in row)}\n"
                                 for t, row in zip(TEXTS, ids, strict=True)).encode(),
            "vocab.tsv": "".join(f"<u:{i}>\t{name}\n" for i, name in enumerate(NAMES)).encode(),
        },
        "xmlrepo": {"train.txt": b"6 9 4\n" + b"".join(
            ",".join(map(str, row)).encode() + b" 0:0.5 8:1e-2\n" for row in ids)},
        **_layouts(ids),
    }  # fmt: skip


def _layouts(ids: list[list[int]]) -> dict[str, dict[str, bytes]]:
    """Layouts of other systems, with the same texts and labels."""
    flat = [text.replace("\t", " ") for text in TEXTS]
    plain = "".join(text + "\n" for text in flat).encode()
    commas = "".join(",".join(map(str, row)) + "\n" for row in ids).encode()
    blanks = "".join(" ".join(f"L{i}" for i in row) + "\n" for row in ids).encode()
    marked = "".join(
        " ".join([*(f"__label__L{i}" for i in row), text]) + "\n" for row, text in zip(ids, flat, strict=True)
    )
    tabbed = "".join(f"{' '.join(f'L{i}' for i in row)}\t{text}\n" for row, text in zip(ids, flat, strict=True))
    subjects = [
        {"text": t, "subjects": [{"uri": f"u:{i}", "label": NAMES[i]} for i in row]}
        for t, row in zip(flat, ids, strict=True)
    ]
    articles = [
        {"id": str(n), "title": t, "decsCodes": [f"D{i}" for i in row]}
        for n, (t, row) in enumerate(zip(flat, ids, strict=True))
    ]
    keys = {f"train/{n}.txt": text.encode() for n, text in enumerate(flat)}
    keys |= {f"train/{n}.key": "".join(f"{NAMES[i]}\n" for i in row).encode() for n, row in enumerate(ids)}
    features = b"6 9\n" + b"0:0.5 8:1e-2\n" * 6
    pairs = b"6 4\n" + "".join(" ".join(f"{i}:1" for i in row) + "\n" for row in ids).encode()
    matrix = sp.csr_matrix(np.array([[i in row for i in range(4)] for row in ids], dtype=np.float32))
    return {
        "cascadexml": {"train_raw_texts.txt": plain, "Y.trn.txt": commas},
        "spartex": {"train_raw_texts.txt": plain, "train_labels.txt": blanks},
        "fasttext": {"train.txt": marked.encode()},
        "libmultilabel": {"train.txt": tabbed.encode()},
        "annif-jsonl": {"train.jsonl": _lines(list(subjects))},
        "articles": {"train.json": json.dumps({"articles": articles}).encode()},
        "key-files": keys,
        "two-file": {"trn_X_Xf.txt": features, "trn_X_Y.txt": pairs},
        "pecos": {"X.trn.txt": plain, "Y.trn.npz": _npz(matrix)},
        "pecos-bag": {"X.trn.npz": _npz(sp.csr_matrix(np.eye(6, 9, dtype=np.float32))), "Y.trn.npz": _npz(matrix)},
    }


def _npz(matrix: sp.csr_matrix) -> bytes:
    out = io.BytesIO()
    sp.save_npz(out, matrix)
    return out.getvalue()


def mutated(base: dict[str, dict[str, bytes]], seed: int) -> Input:
    """A valid data set with one to four mutations of one of its files."""
    rng = random.Random(seed)
    format = rng.choice(sorted(base))
    files = dict(base[format])
    name = rng.choice(sorted(files))
    data = files[name]
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = _mutation(data, rng)
    if not name.endswith((".parquet", ".npz")) and rng.random() < 0.1:
        del files[name]
        name, data = f"{name}.gz", gzip.compress(data, mtime=0)
        if rng.random() < 0.5:
            data = _mutation(data, rng)
    files[name] = data
    return Input(format, seed, files)


def _mutation(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    stop = min(len(data), at + rng.choice((1, 1, 3, 20, 200)))
    kind = rng.randrange(8)
    lines = data.split(b"\n")
    if kind == 0:
        return data[:at] + rng.choice(PIECES) + data[at:]
    if kind == 1:
        return data[:at] + rng.choice(PIECES) + data[stop:]
    if kind == 2:
        return data[:at] + data[stop:]
    if kind == 3:
        return data[:at] + data[at:stop] * rng.choice((2, 2, 50)) + data[stop:]
    if kind == 4:
        return data[:at]
    if kind == 5:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if kind == 6:
        lines[rng.randrange(len(lines))] = rng.choice(lines)
    else:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(PIECES))
    return b"\n".join(lines)
