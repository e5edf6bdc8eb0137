"""`megalabel index`: builds an index over the label vectors of a run, measures it and saves it with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import DataOfRun, Run, Threads, Trust, complete, open_data_of, trusting, use_threads
from megalabel.cli.streams import to_stderr
from megalabel.errors import MegalabelError, SettingError

KINDS = ("auto", "exact", "int8", "tree", "hnsw")
MOST = 4000  # texts on which an index is measured


def index(
    run: Run,
    data: DataOfRun = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="auto (the fastest of exact, int8, tree), exact (no index), int8, tree or hnsw.",
            autocompletion=complete(KINDS),
        ),
    ] = "auto",
    recall: Annotated[
        float, typer.Option(metavar="FLOAT", help="Fraction of the k best labels to keep, above 0 and below 1.")
    ] = 0.99,
    k: Annotated[
        int, typer.Option("--k", "-k", metavar="INT", help="Labels per text up to which the index is used.")
    ] = 10,
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Texts to measure on, as for predict; default: those that the run held out."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="INT", help="Seed of the clusters and of the texts drawn.")] = 0,
    threads: Threads = None,
    trust: Trust = None,
) -> None:
    """Build an index for the labels of a run, print its recall and speed, and save it with the model.

    `megalabel predict` and `topk` then use it on the CPU. Scores stay those of the model. `--kind exact` removes
    the index.
    """
    import numpy as np

    from megalabel.index.build import check_request
    from megalabel.index.measure import table_of
    from megalabel.models import indexed
    from megalabel.models.base import load
    from megalabel.models.find import model_folder, note_unfinished

    use_threads(threads)
    if seed < 0:
        raise SettingError.range("seed", seed, 0, integer=True)
    with trusting(trust):
        model: Any = load(run, device="cpu", trust=trust or ())
        indexed.searchable(model)
        check_request(kind, recall, min(k, len(model.label_texts)) if k > 0 else k, len(model.label_texts))
        note_unfinished(run, to_stderr)
        sample = _texts_of_run(run, data, seed) if texts is None else _texts_of_file(model, run, texts)
        if len(sample) > MOST:
            rows = np.sort(np.random.default_rng(seed).permutation(len(sample))[:MOST])
            sample = [sample[int(row)] for row in rows]
        k = min(k, len(model.label_texts))
        _, built = indexed.built(model, kind, sample, recall=recall, k=k, seed=seed, say=to_stderr)
    typer.echo(table_of(built.rows, built.kind))
    indexed.put_index(model_folder(run), built.index)
    if built.index is None:
        typer.echo("every label is scored: no index is needed" if kind == "auto" else "the run has no index now")
    else:
        typer.echo(f"the index {built.kind} is in {model_folder(run) / 'index'}, for k up to {k}")


def _texts_of_run(run: Path, data: str | None, seed: int) -> list[str]:
    """The texts that a run held out or, where there are none, some of its training texts."""
    import numpy as np

    from megalabel.training.run_folder import held_out_of, held_out_rows

    corpus = open_data_of(run, data)
    folder = run.parent if (run / "manifest.json").exists() else run
    try:
        rows = held_out_rows(folder)
    except MegalabelError:  # a model folder that was copied alone
        rows = np.empty(0, np.int64)
    last, n = int(rows.max(initial=-1)), len(corpus.train)
    if last >= n or (data is not None and len(rows) and not len(held_out_of(folder, corpus))):
        raise SettingError(
            f"{corpus.name} with {n:,} training texts, where the run held out rows up to {last:,} of other data",
            wanted="the data set of the run",
            next_step="leave DATA out, or give --texts FILE",
            where="data",
        )
    if not len(rows):
        to_stderr(
            "the run held out no texts: recall is measured on training texts, whose labels are easier to find; "
            "give --texts FILE to measure on others"
        )
        rows = np.random.default_rng(seed).permutation(len(corpus.train))[:MOST]
    return list(corpus.train.texts[np.sort(rows)])


def _texts_of_file(model: Any, run: Path, file: Path) -> list[str]:
    """The texts in a file, read as `megalabel predict` reads them."""
    from megalabel.cli.arguments import parts_of
    from megalabel.cli.predict_request import as_trained
    from megalabel.inference.predict import read_inputs
    from megalabel.inference.reading import TEXT, TextOptions

    options = as_trained(run, str(file), TextOptions(None, TEXT, None, **parts_of(run)), to_stderr)
    rows: Any = read_inputs(model, str(file), None, options, to_stderr)
    return [row.text for row in rows]
