"""Small data sets laid out on disk as the authors of three systems and the XML Repository publish them."""

import gzip
import json

import numpy as np

N, M, L = 24, 8, 6
TITLES = [f"red shoe {i % L}" for i in range(N)]
CONTENTS = [f"made of leather {i}" for i in range(N)]
TEST_TITLES = [f"blue hat {i % L}" for i in range(M)]
LABELS = [sorted({i % L, (i * 2) % L}) for i in range(N)]
TEST_LABELS = [sorted({i % L, (i + 1) % L}) for i in range(M)]
NAMES = [f"label text {i}" for i in range(L)]


def put(folder, files):
    """Writes files by name; a name with folders makes these, and .gz is compressed."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return folder


def lines(values):
    return "".join(f"{value}\n" for value in values)


def bag(labels=LABELS):
    """train.txt of the repository: labels and TF-IDF features."""
    rows = [f"{','.join(map(str, ids))} {i % 5}:0.5 5:1.0" for i, ids in enumerate(labels)]
    return f"{len(labels)} 6 {L}\n" + lines(rows)


def records(titles, labels, contents):
    rows = zip(titles, contents, labels, strict=True)
    return lines(
        json.dumps({"uid": str(i), "title": t, "content": c, "target_ind": y, "target_rel": [1.0] * len(y)})
        for i, (t, c, y) in enumerate(rows)
    )


def lf_json(prefix="", suffix=".gz", *, names="lbl"):
    """The repository's JSON with titles and contents."""
    files = {
        f"{prefix}trn.json{suffix}": records(TITLES, LABELS, CONTENTS),
        f"{prefix}tst.json{suffix}": records(TEST_TITLES, TEST_LABELS, CONTENTS[:M]),
        f"{prefix}filter_labels_test.txt": "0 3\n",
        f"{prefix}filter_labels_train.txt": "1 2\n",
    }
    if names == "lbl":
        files[f"{prefix}lbl.json{suffix}"] = lines(
            json.dumps({"uid": str(i), "title": n}) for i, n in enumerate(NAMES)
        )
    elif names:
        files[f"{prefix}{names}"] = lines(NAMES)
    return files


def renee():
    def rows(labels):
        return f"{len(labels)} {L}\n" + lines(" ".join(f"{i}:1.0" for i in ids) for ids in labels)

    return {
        "trn_X.txt": lines(TITLES), "tst_X.txt": lines(TEST_TITLES), "Y.txt": lines(NAMES),
        "trn_X_Y.txt": rows(LABELS), "tst_X_Y.txt": rows(TEST_LABELS),
        "trn_filter_labels.txt": "", "tst_filter_labels.txt": "0 3\n",
    }  # fmt: skip


def renee_aug():
    """Labels of texts and label texts, and the tokens of both."""
    both = LABELS + [[i] for i in range(L)]
    files = renee()
    return {
        "trn_X_Y.txt": f"{len(both)} {L}\n" + lines(" ".join(f"{i}:1.0" for i in ids) for ids in both),
        "tst_X_Y.txt": files["tst_X_Y.txt"], "tst_filter_labels.txt": "0 3\n",
        "bert-base-uncased-32/trn_doc_input_ids.dat": np.zeros((len(both), 4), np.int64).tobytes(),
    }  # fmt: skip


def cascadexml(separator=","):
    return {
        "train_raw_texts.txt": lines(
            f"{t.replace(' ', '_')} /SEP/ {c}" for t, c in zip(TITLES, CONTENTS, strict=True)
        ),
        "test_raw_texts.txt": lines(TEST_TITLES),
        "Y.trn.txt": lines(separator.join(map(str, ids)) for ids in LABELS),
        "Y.tst.txt": lines(separator.join(map(str, ids)) for ids in TEST_LABELS),
        "train.txt": bag(),
    }


def spartex(name="{}"):
    return {
        "train_raw_texts.txt": lines(TITLES), "test_raw_texts.txt": lines(TEST_TITLES),
        "train_labels.txt": lines(" ".join(name.format(i) for i in ids) for ids in LABELS),
        "test_labels.txt": lines(" ".join(name.format(i) for i in ids) for ids in TEST_LABELS),
    }  # fmt: skip


def label_sets(split, names):
    """The label names of each row, sorted."""
    return [sorted(names[i] for i in split.labels[row].indices) for row in range(len(split))]
