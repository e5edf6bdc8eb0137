"""The data sets and the columns of the tables in docs/benchmarks.md."""

from __future__ import annotations

SETS = ("wordnet-4k", "gutenberg-4k", "gutenberg-full", "metamath", "yso-finna-en", "wordnet", "debian-deps")
COLUMNS = ("P@1", "P@3", "P@5", "PSP@1", "PSP@3", "PSP@5", "train s", "peak MB")
HEAD_COLUMNS = (  # the name of the column, the name of the metric, a factor
    ("ms per step", "step", 1.0),
    ("% of the speed of its products", "speed", 100.0),
    ("times the usual speed", "speed-up", 1.0),
    ("peak MB", "peak memory", 1.0),
    ("% of the usual memory", "memory share", 100.0),
)
NARROW_COLUMNS = (
    ("ms per step", "step", 1.0),
    ("times float32", "ratio", 1.0),
    ("weights MB", "weights", 1.0),
    ("peak MB of the process", "peak memory of the process", 1.0),
)
NARROW_BEAM_COLUMNS = (("µs per query", "query", 1.0), ("times float32", "ratio", 1.0))
CASCADE_COLUMNS = (
    ("ms per step", "step", 1.0),
    ("times the first row's", "of the smallest", 1.0),
    ("thousand rows touched", "rows", 1e-3),
    ("peak MB", "peak memory", 1.0),
    ("% of tables and moments", "peak of stated", 100.0),
    ("times slower than ours", "speed-up", 1.0),
    ("ours, % of its memory", "memory share", 100.0),
)
TREE_COLUMNS = (("s", "seconds", 1.0), ("CPU s", "cpu", 1.0), ("peak MiB", "peak", 1.0))
BEAM_COLUMNS = (
    ("median µs", "p50", 1.0),
    ("99% µs", "p99", 1.0),
    ("floor µs", "floor", 1.0),
    ("% of the exact best", "R@1", 1.0),
    ("% of the best 5", "R@5", 1.0),
    ("% of the best 10", "R@10", 1.0),
    ("texts/s in batches", "batched", 1.0),
)
# CPU seconds, not wall-clock seconds, since these runs shared the machine with others.
FAN_IN_COLUMNS = ("P@1", "P@5", "PSP@1", "PSP@5", "train CPU s", "peak MB", "head MB")
SPARSE_COLUMNS = (
    ("ms per step", "step", 1.0),
    ("times the floor", "of the floor", 1.0),
    ("times SGD with momentum, BCE", "of ours", 1.0),
    ("peak MB", "peak memory", 1.0),
    ("% of the formula", "peak of stated", 100.0),
)
LINEAR_COSTS = ("solve CPU s", "features CPU s", "predict CPU s/1k", "one query µs", "peak MB", "model MB")
LINEAR_COLUMNS = tuple((name, name, 1.0) for name in (*COLUMNS[:6], *LINEAR_COSTS))
LARGE_COLUMNS = (
    ("min", "train s", 1 / 60), ("CPU min", "train CPU s", 1 / 60), ("peak GB", "peak MB", 1e-3),
    ("model GB", "model MB", 1e-3), ("P@1", "P@1", 1.0), ("median µs per query", "one query µs", 1.0),
    ("99% µs", "one query 99% µs", 1.0), ("CPU ms per text in batches", "predict CPU s/1k", 1.0),
)  # fmt: skip
WEIGHTS_COLUMNS = (
    ("P@1", "P@1", 1.0), ("P@5", "P@5", 1.0), ("PSP@1", "PSP@1", 1.0), ("trees MB", "trees MB", 1.0),
    ("CPU ms per text in batches", "predict CPU s/1k", 1.0),
    ("mean CPU µs per query", "one query mean CPU µs", 1.0),
)  # fmt: skip
AUTO_COLUMNS = (
    *((metric, metric, 1.0) for metric in ("P@1", "P@3", "P@5", "PSP@1", "PSP@5")),
    ("CPU s", "train CPU s", 1.0), ("CPU s of train and test", "CPU s", 1.0), ("model MB", "model MB", 1.0),
)  # fmt: skip
USUAL_COLUMNS = (
    *((metric, metric, 1.0) for metric in ("P@1", "P@3", "P@5", "nDCG@5", "PSP@1", "PSP@5")),
    ("CPU s", "CPU s", 1.0),
)  # fmt: skip
LONG_TEXT_COLUMNS = (
    ("P@1", "P@1", 1.0), ("P@5", "P@5", 1.0), ("PSP@5", "PSP@5", 1.0), ("CPU ms per text", "ms/text", 1.0),
)  # fmt: skip
DISK_COLUMNS = (
    ("s per step", "step", 1.0),
    ("times memory", "ratio", 1.0),
    ("tables MB", "tables", 1.0),
    ("peak MB of the process", "peak of the process", 1.0),
    ("peak MB with pages of files", "peak of the cgroup", 1.0),
)
SHARED_COLUMNS = (
    ("CPU ms of a step", "step", 1.0),
    ("of a copy", "copy", 1.0),
    ("of copy and writing", "copy and writing", 1.0),
    ("% of time at one in 60 s", "share of time at one in 60 s", 1.0),
    ("at one in 300 s", "share of time at one in 300 s", 1.0),
    ("steps between two for 3%", "steps between checkpoints for 3%", 1.0),
)
REPORT_COLUMNS = (
    ("s", "wall", 1.0),
    ("CPU s", "CPU", 1.0),
    ("peak MB", "peak", 1.0),
    ("page MB", "page", 1.0),
    ("same bytes again", "same bytes again", 1.0),
)
ONE_VS_REST_COLUMNS = (
    ("P@1 %", "P@1", 1.0),
    ("train CPU s", "train CPU", 1.0),
    ("times linear, fixed", "of linear, fixed", 1.0),
)
ANNIF_COLUMNS = (
    ("F1@5", "F1@5", 1.0), ("nDCG", "NDCG", 1.0), ("nDCG@5", "NDCG@5", 1.0), ("P@1", "Precision@1", 1.0),
    ("P@5", "Precision@5", 1.0), ("train CPU s", "train CPU s", 1.0), ("evaluate CPU s", "evaluate CPU s", 1.0),
)  # fmt: skip
PAGE_COLUMNS = (("median ms", "p50", 1.0), ("95%", "p95", 1.0), ("MB", "MB", 1.0))
STREAMED_COLUMNS = (
    ("peak MB of reading", "peak of reading, MB", 1.0),
    ("and of tokenizing", "peak of reading and tokenizing, MB", 1.0),
    ("CPU s of reading", "reading, CPU s", 1.0),
    ("CPU s of tokenizing", "tokenizing, CPU s", 1.0),
)
LATENCY_COLUMNS = (("median CPU ms", "median", 1.0), ("99%", "99%", 1.0))
INDEX_COLUMNS = (
    ("% of the best 5", "recall@5", 100.0), ("texts per CPU s", "texts/s", 1.0),
    ("times exact", "times exact", 1.0),
    ("one text: median CPU ms", "one text p50", 1.0), ("99%", "one text p99", 1.0),
    ("built in CPU s", "built", 1.0), ("MB", "MB", 1.0),
)  # fmt: skip
LONG_QUERY_COLUMNS = (("median CPU ms", "p50", 1.0), ("99%", "p99", 1.0))
RUNTIME_COLUMNS = (
    ("MB", "file", 1.0),
    ("cold start: ms p50", "cold, wall p50", 1.0), ("p95", "cold, wall p95", 1.0),
    ("CPU ms p95", "cold, CPU p95", 1.0),
    ("floor: ms p50", "floor, wall p50", 1.0), ("floor p95", "floor, wall p95", 1.0),
    ("library: ms p50", "library, wall p50", 1.0),
    ("one text: µs", "warm, runtime p50", 1.0), ("plain Python µs", "warm, plain p50", 1.0),
    ("library µs", "warm, library p50", 1.0),
)  # fmt: skip
FIRST_ANSWER_COLUMNS = (
    ("MB", "first answer: model", 1.0), ("cold start: ms p50", "first answer: p50", 1.0),
    ("p95", "first answer: p95", 1.0), ("floor: ms p50", "Python alone: p50", 1.0),
    ("floor p95", "Python alone: p95", 1.0),
)  # fmt: skip
ONNX_COLUMNS = (
    ("MB of the model", "model", 1.0), ("MB", "file, graph", 1.0), ("8 bits: MB", "file, 8 bits", 1.0),
    ("largest difference", "largest difference, graph", 1.0),
    ("% of other rankings", "rankings that differ, graph", 1.0),
    ("P@1", "P@1", 1.0), ("graph: P@1", "P@1, graph", 1.0), ("8 bits: P@1", "P@1, 8 bits", 1.0),
    ("CPU µs per text: library", "one text, library, CPU", 1.0), ("graph", "one text, graph, CPU", 1.0),
    ("8 bits", "one text, 8 bits, CPU", 1.0),
)  # fmt: skip
DISTILL_COLUMNS = (
    ("P@1 of the run", "run, P@1", 1.0), ("P@1", "distilled, P@1", 1.0), ("% of P@1", "distilled / run, P@1", 1.0),
    ("% of nDCG@5", "distilled / run, nDCG@5", 1.0), ("MB of the run", "run, model", 1.0),
    ("MB", "distilled, model", 1.0), ("µs per text of the run", "run, one text", 1.0),
    ("µs per text", "distilled, one text", 1.0),
)  # fmt: skip
ADDED_LABEL_COLUMNS = (
    ("P@1 of their texts", "P@1 of their texts", 1.0),
    ("% of trained again", "P@1 of their texts, of that trained again", 1.0),
    ("P@1 among them", "P@1 among the added", 1.0),
    ("recall@10 of them", "recall@10 of the added", 1.0),
    ("% with one of them first", "their texts with an added label first", 1.0),
    ("P@1 of all texts", "P@1 of all test texts", 1.0),
    ("CPU ms per label", "with_labels CPU", 1.0),
)
FURTHER_TEXT_COLUMNS = (("P@1", "P@1", 1.0), ("P@5", "P@5", 1.0), ("PSP@5", "PSP@5", 1.0), ("CPU s", "CPU s", 1.0))
TAIL_COLUMNS = tuple(
    (f"{metric}, {tail}", f"{tail:.1f} {metric}", 1.0)
    for metric in ("P@1", "P@5", "PSP@5")
    for tail in (0, 0.3, 0.5, 0.7, 1)
)
ANNIF_HTTP_COLUMNS = tuple(
    (f"{metric}, {who}", f"{who}: {name}", 1.0)
    for metric, annif in (("P@1", "Precision@1"), ("P@5", "Precision@5"), ("nDCG@5", "NDCG@5"))
    for who, name in (("Annif", annif), ("megalabel", metric))
)
