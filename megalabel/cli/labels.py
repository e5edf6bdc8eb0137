"""`megalabel labels`: list the labels of a model, or write the model with other labels or metadata of labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megalabel.cli.arguments import Device, Run, Trust, open_data, trusting
from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.models.base import Classifier

_MERGE = "Merge the labels that get the same NEW name into one, with the best score of any of them; repeatable."
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT", help="Folder of the changed model.")]
Remove = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Remove a label; repeatable.")]
Rename = Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="Rename a label; repeatable.")]
Pairs = Annotated[
    str | None,
    typer.Option(metavar="DATA", help="Learn from a data set which labels occur together, for given labels."),
]
Merge = Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help=_MERGE)]
Metadata = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="URIs, notations, further names and broader labels: .jsonl, or a vocabulary of Annif or SKOS.",
    ),
]
TaxonomyFile = Annotated[
    Path | None,
    typer.Option("--taxonomy", metavar="FILE", help="Broader labels: lines of parent, tab, child, or SKOS."),
]


def labels(
    run: Run,
    out: Out = None,
    remove: Remove = None,
    rename: Rename = None,
    merge: Merge = None,
    pairs: Pairs = None,
    metadata: Metadata = None,
    taxonomy: TaxonomyFile = None,
    trust: Trust = None,
    device: Device = None,
) -> None:
    """List the labels of a model by id, or write the model with other labels or metadata of labels."""
    from megalabel.models.base import check_room, load
    from megalabel.training.calibration import learn_strength
    from megalabel.training.run_folder import held_out_of

    changes = bool(remove or rename or merge or pairs or metadata or taxonomy)
    if changes != (out is not None):
        options = "--remove, --rename, --merge, --pairs, --metadata or --taxonomy"
        given, missing = ("changes", "-o OUT") if changes else ("-o OUT", options)
        raise SettingError(f"{given} without {missing}", wanted="both, or none to list the labels", where="--out")
    if out is not None:
        check_room(out)
    with trusting(trust):
        model = load(run, device=device, trust=trust or ())
        if out is None:
            typer.echo("\n".join(_listed(model)))
            return
        before, calibrated = len(model.label_texts), model.calibration is not None
        if pairs:
            corpus = open_data(pairs)
            model = model.learn_pairs(corpus)
            learn_strength(model, corpus, held_out_of(run, corpus))
        if merge:
            groups: dict[str, list[str]] = {}
            for old, new in (_pair(text, "--merge") for text in merge):
                groups.setdefault(new, []).append(old)
            model = model.merge_labels(groups)
        if rename:
            names = [_pair(text, "--rename") for text in rename]
            if len(dict(names)) < len(names):
                raise SettingError("two new names for a label", wanted="one for each label", where="--rename")
            model = model.rename_labels(dict(names))
        if remove:
            model = model.without_labels(remove)
        _with_files(model, metadata, taxonomy)
        model.save(out)
    typer.echo(f"{out}: {before:,} labels, now {len(model.label_texts):,}")
    if calibrated and model.calibration is None:
        typer.echo(f"merged labels have no calibrated probabilities; next: megalabel calibrate {out} DATA")


def _listed(model: Classifier) -> Iterator[str]:
    """A line for each label: id, name and, where labels have these, URI and notation."""
    known = model.metadata
    columns = [] if known is None else [texts for texts in (known.uris, known.notations) if texts is not None]
    for i, name in enumerate(model.label_texts):
        yield "\t".join([str(i), name, *(texts[i] for texts in columns)])


def _with_files(model: Classifier, metadata: Path | None, taxonomy: Path | None) -> None:
    """Gives a model the metadata and the taxonomy in files; says what of them is not used."""
    from megalabel.data.findings import Findings
    from megalabel.data.label_metadata import LabelMetadata
    from megalabel.data.metadata_files import metadata_in, taxonomy_in

    findings, names = Findings(), model.label_texts
    if metadata is not None:
        model.metadata = metadata_in(metadata, names, model.metadata, findings)
    if taxonomy is not None:
        known = model.metadata or LabelMetadata(len(names))
        model.metadata = replace(known, taxonomy=taxonomy_in(taxonomy, names, known, findings))
    for finding in findings.all():
        if finding.notable:
            typer.echo(str(finding), err=True)


def _pair(text: str, option: str) -> tuple[str, str]:
    """OLD=NEW as a pair; a name that holds "=" cannot be written so."""
    old, sign, new = text.partition("=")
    if not sign or "=" in new or not old or not new:
        step = "use rename_labels or merge_labels in Python for names with =" if text.count("=") > 1 else None
        raise SettingError(f"{text!r:.80}", wanted="OLD=NEW", where=option, next_step=step)
    return old, new
