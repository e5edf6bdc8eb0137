"""The formats of data sets: one module per format, with `read(source, findings)` and `write(data, sink)`."""

from __future__ import annotations

from megalabel.data.formats.contract import Format

FORMATS = {
    f.name: f
    for f in (
        Format("raw", "raw", "trn_X.txt", "tst_X.txt", (), "trn_X.txt, trn_X_Y.txt (Y.txt)"),
        Format("lf-json", "lf_json", "trn.json", "tst.json", (), "trn.json, lbl.json"),
        Format("jsonl", "jsonl", "train.jsonl", "test.jsonl", (".jsonl", ".ndjson", ".json"), "train.jsonl"),
        Format("csv", "delimited", "train.csv", "test.csv", (".csv",), "train.csv"),
        Format("parquet", "parquet", "train.parquet", "test.parquet", (".parquet",), "train.parquet"),
        Format("annif", "annif", "train.tsv", "test.tsv", (".tsv",), "train.tsv, vocab.tsv"),
        Format("xmlrepo", "xmlrepo", "train.txt", "test.txt", (".txt",), "train.txt starting with `N V L`"),
    )
}
