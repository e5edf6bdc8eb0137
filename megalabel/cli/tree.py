"""`megalabel tree`: building, showing and exporting label trees."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from megalabel.cli.arguments import NewFolder, Threads, open_data, use_threads
from megalabel.cli.layout import Command, Group
from megalabel.cli.reading import notes, reads
from megalabel.cli.recipe_options import command_of
from megalabel.recipes.options import (
    Count,
    PowerOfTwo,
    SeedOptions,
    Size,
    Unset,
    at_least,
    between,
    check_coarsest,
    check_rising,
    depths_of,
)

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Build, show or export a label tree.",
)
Tree = Annotated[Path, typer.Argument(metavar="TREE", help="The folder of a label tree.")]
NewTree = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="A new folder.")]


class TreeBuild(SeedOptions):
    """The options of `megalabel tree build`."""

    panel = "Tree"

    source: Annotated[
        Literal["texts", "names", "both"], "What labels are clustered by: their texts, or names."
    ] = "texts"
    clusters: Annotated[tuple[Annotated[int, PowerOfTwo()], ...], Unset("by number of labels"), "Per level."] = ()
    graph: Annotated[bool, "Smooth label features over a random walk on the label graph."] = True
    graph_file: Annotated[
        str | None,
        Unset("not kept"),
        "The label graph: read if the .npz is there, else written for the next tree.",
    ] = None
    head_labels_above: Annotated[
        Size, "Labels with more training texts form a cluster of their own on every level; 0: none."
    ] = 0
    normalize: Annotated[bool, "Normalize label features before smoothing."] = False
    cluster_features: Annotated[Count, "Features kept per label for clustering."] = 1000
    walk_length: Annotated[Count, "Steps of the random walk from each label."] = 400
    restart_probability: Annotated[float, between(0, 1), "Probability that a step returns to its label."] = 0.8
    graph_top_k: Annotated[Count, "Neighbors kept per label in the graph."] = 10
    tokenizer: Annotated[Literal["words", "symbols"], "symbols: formulas and code."] = "words"
    vocabulary: Annotated[int, at_least(3), "Maximum number of distinct words."] = 100_000
    max_length: Annotated[Count, "Words read of each text."] = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rising(self.clusters)


def running(out: NewTree, threads: Threads = None) -> None:
    """The options of `megalabel tree build` beside those of the tree."""


def build(data: str, values: dict[str, Any], *, opened: dict[str, Any], out: Path, threads: int | None) -> None:
    """Builds the tree of a data set into the new folder `out`."""
    options = TreeBuild.from_values(values)
    from megalabel.labels.build import build_tree
    from megalabel.labels.tree import new_folder

    new_folder(out)  # before the work, not after it
    use_threads(threads)
    corpus = open_data(data, opened)
    for line in notes(corpus.findings):
        typer.echo(line)
    check_coarsest(options.clusters, corpus)
    tree = build_tree(
        corpus,
        source=options.source,
        graph=options.graph,
        graph_file=options.graph_file,
        head_labels_above=options.head_labels_above,
        normalize=options.normalize,
        depths=depths_of(options.clusters) or None,
        cluster_features=options.cluster_features,
        walk_length=options.walk_length,
        restart_probability=options.restart_probability,
        graph_top_k=options.graph_top_k,
        tokenizer=options.tokenizer,
        vocabulary=options.vocabulary,
        max_length=options.max_length,
        seed=options.seed,
        say=typer.echo,
    )
    tree.save(out)
    typer.echo(f"the tree is in {out}; next: megalabel tree show {out} --data {data}")


app.command("build", cls=Command)(
    command_of(TreeBuild, "Build the label tree of a data set from its training texts.", running, build)
)


@app.command(cls=Command)
@reads
def show(
    tree: Tree,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="The data set, to show the labels of some leaves.")
    ] = None,
    examples: Annotated[int, typer.Option(metavar="INT", help="Number of leaves shown.")] = 6,
    *,
    opened: dict[str, Any],
) -> None:
    """Show levels and cluster sizes of a tree and, with --data, the labels of some leaves."""
    from megalabel.labels.build import check_fits
    from megalabel.labels.describe import describe
    from megalabel.labels.tree import LabelTree

    found = LabelTree.load(tree)
    corpus = None if data is None else open_data(data, opened)
    if corpus is not None:
        check_fits(found, corpus)
    for line in describe(found, None if corpus is None else corpus.label_texts, examples=examples):
        typer.echo(line)


@app.command(cls=Command)
def export(tree: Tree, out: NewFolder) -> None:
    """Write a tree as the chain of cluster matrices (npz) that PECOS reads."""
    from megalabel.labels.tree import LabelTree

    found = LabelTree.load(tree)
    found.export_npz(out)
    typer.echo(f"{out}: {found.depth + 1} matrices for pecos.utils.cluster_util.ClusterChain.load")
