"""`megalabel onnx`: a model as an ONNX graph for runtimes without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import Run, Trust, open_data_to_measure, trusting
from megalabel.cli.streams import to_stderr


def onnx(
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The new folder.")],
    k: Annotated[int, typer.Option("--k", "-k", metavar="INT", help="Labels per text.")] = 10,
    int8: Annotated[bool, typer.Option("--int8", help="Also write a graph with weights in 8 bits.")] = False,
    check: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Labeled texts on which P@1 and P@5 of the graphs are measured."),
    ] = None,
    trust: Trust = None,
) -> None:
    """Write the model of a run as an ONNX graph: tokens or characters to the k best labels and their scores.

    Linear models can be exported, and encoders of the kinds bag and transformer with the heads of renee, elmo,
    cascadexml, spartex, dexml and ngame.
    """
    from megalabel.models.find import note_unfinished
    from megalabel.onnx.export import export

    with trusting(trust):
        note_unfinished(run, to_stderr)
        data = None if check is None else open_data_to_measure(run, check)
        facts = export(run, out, k=k, int8=int8, check=data, trust=tuple(trust or ()))
    if facts["k"] < k:
        to_stderr(f"k = {k:,} is more than the labels of the model: the graph gives all {facts['k']:,}")
    for file in sorted(out.glob("*.onnx*")):
        typer.echo(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")
    typer.echo(f"scores of k = {facts['k']} labels differ from the model's by at most {facts['difference']:.1e}")
    if data is not None:
        typer.echo(_table(facts["check"]))
    elif int8:
        to_stderr("what 8 bits cost was not measured; give --check DATA")


def _table(found: dict[str, Any]) -> str:
    """The precision of the model and of its graphs, and how far they differ, as lines of text."""
    depths = list(found["model"])
    lines = [f"on {found['texts']:,} texts"]
    for name, row in found.items():
        if name == "texts":
            continue
        cells = "  ".join(f"{depth} {row[depth]:.2f}%" for depth in depths)
        beside = ""
        if name != "model":
            beside = f"  same ranking {row['same_rankings']:.1%}  largest difference {row['difference']:.1e}"
        lines.append(f"  {name:16}{cells}{beside}")
    return "\n".join(lines)
