"""From a corpus to its label tree: features, graph, clusters, each step told with its seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.labels.tree import LabelTree

Say = Callable[[str], Any]
LABEL_TEXTS = "label_texts_sha256"  # in `LabelTree.built`


def build_tree(
    data: Corpus,
    *,
    source: str = "texts",
    graph: bool = True,
    unit: bool = False,
    depths: Sequence[int] | None = None,
    keep: int = 1000,
    hops: int = 400,
    p_reset: float = 0.8,
    neighbours: int = 10,
    tokenizer: str = "words",
    vocabulary: int = 100_000,
    max_length: int = 256,
    seed: int = 0,
    rows: np.ndarray | None = None,
    say: Say | None = None,
) -> LabelTree:
    """The label tree of a corpus, as CascadeXML builds it (arXiv 2211.00640): from training texts only.

    The same arguments give the same tree for any number of threads.

    Args:
        data: the corpus. One of bags of words takes these as features of its texts, and no settings of words.
        source: of the label features: texts (PIFA; a label without any takes its own text), names (the label
            texts), or both side by side.
        graph: smooth the features along the label graph.
        unit: bring features to length 1 before they are smoothed, which the paper does not: there, a neighbour
            with very many texts drowns the others. Better leaves where some labels are that frequent.
        depths: rising; level i gets 2^depths[i] clusters. Default: `choose_depths`.
        keep: features kept of each label; of its texts and its name each for "both", until they are smoothed.
            They take about 16 bytes times this and L while they are made, twice that for "both".
        hops, p_reset, neighbours: of the label graph; see `label_graph`.
        tokenizer: words, or symbols for formulas and codes.
        vocabulary: most words that are told apart.
        max_length: words of a text that are read.
        seed: of walks and clusters.
        rows: (n,) integers, the training texts to learn from, such as those left after some were held out for
            validation. Default: all.
        say: takes a line for each step, such as `print`.

    Raises:
        SettingError: a value out of its range, depths that do not fit the number of labels.
        DataError: texts and labels without a word.
    """
    from megalabel.inputs.bags import refuse_text_settings
    from megalabel.inputs.tfidf import l2_rows
    from megalabel.labels.cluster import check_depths, choose_depths, cluster
    from megalabel.labels.features import label_features, material
    from megalabel.labels.graph import check_graph, label_graph, smoothed

    if keep < 1:
        raise SettingError(f"keep = {keep}", wanted="1 or more", next_step="leave keep out")
    if seed < 0:
        raise SettingError(f"seed = {seed}", wanted="0 or more", next_step="give another seed")
    words: dict[str, Any] = {"tokenizer": tokenizer, "vocabulary": vocabulary, "max_length": max_length}
    if source == "texts" and data.train.features is not None:
        refuse_text_settings(build_tree, **words)
    if graph:
        check_graph(hops, p_reset, neighbours)
    chosen = choose_depths(data.n_labels) if depths is None else check_depths(depths, data.n_labels)
    rows = _checked(rows, len(data.train))
    step = _Steps(say)
    step.tell(_depths_line(chosen, data.n_labels, depths is None))
    found = material(data, rows, source=source, **words)
    labels, weights = found.labels, found.texts.nnz + found.names.nnz
    step("texts", f"{len(data.train) if rows is None else len(rows):,} texts, {weights:,} weights")
    features = label_features(found, source, keep)
    del found
    if unit:
        features = l2_rows(features)
    step("features", f"{features.nnz:,} of {features.shape[0]:,} labels{_placing(labels, features)}")
    if graph:
        edges = label_graph(labels, hops=hops, p_reset=p_reset, neighbours=neighbours, seed=seed)
        step("graph", f"{edges.nnz:,} edges")
        features = smoothed(edges, features, keep)
        del edges
        step("smoothing", f"{features.nnz:,} features")
    tree = cluster(features, chosen, seed=seed)
    step("clusters", " > ".join(f"{n:,}" for n in tree.sizes))
    tree.built.update(
        data=data.name, source=source, unit=unit, depths=list(chosen), keep=keep,
        **words, seed=seed, texts=int(labels.shape[0]),
        graph={"hops": hops, "p_reset": p_reset, "neighbours": neighbours} if graph else None,
        **{LABEL_TEXTS: data.label_texts.sha256()},
    )  # fmt: skip
    return tree


def check_fits(tree: LabelTree, data: Corpus) -> None:
    """SettingError unless the tree is over the labels of the corpus.

    A tree of `build_tree` knows its label texts; of any other, only the number of labels can be told.
    """
    of = f" of {tree.built['data']}" if "data" in tree.built else ""
    if tree.n_labels != data.n_labels:
        found = f"the label tree{of} has {tree.n_labels:,} labels, {data.name} has {data.n_labels:,}"
    elif tree.built.get(LABEL_TEXTS) not in (None, data.label_texts.sha256()):
        found = f"the label tree{of} was built over other label texts than those of {data.name}"
    else:
        return
    raise SettingError(
        found,
        wanted="a tree over the labels of the very data",
        next_step=f"build one for {data.name} with `megalabel tree build`",
    )


class _Steps:
    """Tells what each step made, and its seconds."""

    def __init__(self, say: Say | None) -> None:
        self.tell, self.begun = say or (lambda _: None), time.monotonic()

    def __call__(self, name: str, made: str) -> None:
        now = time.monotonic()
        self.tell(f"{name:<10} {now - self.begun:7.1f} s  {made}")
        self.begun = now


def _depths_line(depths: tuple[int, ...], n_labels: int, ours: bool) -> str:
    clusters = " > ".join(f"{2**d:,}" for d in depths)
    line = (
        f"depths {','.join(map(str, depths))}: {clusters} clusters, {n_labels / 2 ** depths[-1]:.1f} labels a leaf"
    )
    return line + (" (chosen from the number of labels)" if ours else "")


def _placing(labels: Any, features: Any) -> str:
    """How many labels have no training text, and how many of these no features either."""
    bare = np.bincount(labels.indices, minlength=labels.shape[1]) == 0
    nothing = np.diff(features.indptr) == 0
    parts = [
        f"{np.count_nonzero(mask):,} {what}"
        for mask, what in (
            (bare & ~nothing, "without training text, placed by their label text"),
            (nothing, "with neither, placed where there is room"),
        )
        if mask.any()
    ]
    return f" ({'; '.join(parts)})" if parts else ""


def _checked(rows: np.ndarray | None, n: int) -> np.ndarray | None:
    if rows is None:
        return None
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0 or rows.min() < 0 or rows.max() >= n:
        raise SettingError(
            f"rows of shape {rows.shape} and dtype {rows.dtype}",
            wanted=f"at least one integer from 0 to {n - 1}",
            next_step="give the rows of the training texts to learn from",
        )
    return rows.astype(np.int64)
