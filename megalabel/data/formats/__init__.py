"""The formats of data sets, one module each, with `read(source, findings)` and, mostly, `write(data, sink)`."""

from __future__ import annotations

from megalabel.data.formats.contract import Format

_JSON = (".jsonl", ".ndjson", ".json")

FORMATS = {
    f.name: f
    for f in (
        Format("raw", "raw", "trn_X.txt", "tst_X.txt", (), "trn_X.txt, trn_X_Y.txt (Y.txt)"),
        Format("lf-json", "lf_json", "trn.json", "tst.json", (), "trn.json (lbl.json or Yf.txt)", finds=True),
        Format("jsonl", "jsonl", "train.jsonl", "test.jsonl", _JSON, "train.jsonl", content="json"),
        Format("csv", "delimited", "train.csv", "test.csv", (".csv",), "train.csv"),
        Format(
            "parquet", "parquet", "train.parquet", "test.parquet", (".parquet",),
            "train.parquet or shards train-00000-of-00002.parquet", finds=True,
        ),
        Format("annif", "annif", "train.tsv", "test.tsv", (".tsv",), "train.tsv, vocab.tsv"),
        Format(
            "annif-jsonl", "annif_json", "train.jsonl", "test.jsonl", _JSON, "train.jsonl with `subjects`",
            content="subjects", writes=False,
        ),
        Format(
            "key-files", "key_files", "train/*.txt", "test/*.txt", (), "train/*.txt with *.key (Annif)",
            writes=False, finds=True,
        ),
        Format(
            "articles", "articles", "train.json", "test.json", _JSON, 'train.json of {"articles": [...]}',
            content="document", writes=False,
        ),
        Format(
            "cascadexml", "cascade_texts", "train_raw_texts.txt", "test_raw_texts.txt", (),
            "train_raw_texts.txt, Y.trn.txt (CascadeXML)", writes=False, finds=True,
        ),
        Format(
            "spartex", "label_strings", "train_raw_texts.txt", "test_raw_texts.txt", (),
            "train_raw_texts.txt, train_labels.txt (Spartex)", writes=False, finds=True,
        ),
        Format(
            "aug", "augmented", "trn_X_Y.txt", "tst_X_Y.txt", (), "NAME-Aug beside NAME",
            writes=False, finds=True,
        ),
        Format("pecos", "pecos", "Y.trn.npz", "Y.tst.npz", (), "Y.trn.npz, X.trn.txt (PECOS)", finds=True),
        Format(
            "fasttext", "fasttext", "train.txt", "test.txt", (".txt", ".ft", ".fasttext"),
            "train.txt with `__label__`", content="fasttext",
        ),
        Format(
            "libmultilabel", "tabbed", "train.txt", "test.txt", (".txt",), "train.txt of `labels<TAB>text`",
            content="tabs",
        ),
        Format(
            "two-file", "two_file", "trn_X_Xf.txt", "tst_X_Xf.txt", (), "trn_X_Xf.txt, trn_X_Y.txt",
            bag=True, writes=False,
        ),
        Format(
            "pecos-bag", "pecos_bag", "Y.trn.npz", "Y.tst.npz", (), "Y.trn.npz, X.trn.npz (PECOS)",
            bag=True, finds=True,
        ),
        Format(
            "xmlrepo", "xmlrepo", "train.txt", "test.txt", (".txt",), "train.txt starting with `N V L`",
            content="bag", bag=True,
        ),
    )
}  # fmt: skip
