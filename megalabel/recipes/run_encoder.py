"""The encoder of a finished run as the start of another one: `--encoder RUN`.

Renée's published runs start from an encoder that NGAME trained on the same data (MLSys 2023, section 4). A run
folder, or the folder of its model, is therefore a name of an encoder: its weights, its tokenizer and its pooling
are taken, and what belongs to the new recipe (dropout, number of views, width) is that of the recipe.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megalabel.encoders.prompts import DEFAULT, Prompts
from megalabel.errors import MegalabelError, SettingError

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.encoders.base import Encoder

MOST_STEPS = 20  # of runs that start from runs
PARTS = ("encoder.safetensors", "tokenizer.json")  # the files that make up an encoder


def is_run(name: str | None) -> bool:
    """Whether the name of an encoder is the folder of a run or of a model, and not of a Hugging Face model."""
    if not name or not Path(name).is_dir() or (Path(name) / "config.json").is_file():
        return False
    return any((Path(name) / file).is_file() for file in ("recipe.json", "manifest.json"))


def plain_name(name: str) -> str:
    """The name of the encoder that training began with, through all runs that started from a run.

    For the folder of a model without its run, "bag" for a bag; else the name as it is.
    """
    for _ in range(MOST_STEPS):
        if not is_run(name):
            return name
        found = _facts(Path(name) / "recipe.json").get("arguments")
        inner = found.get("encoder") if isinstance(found, dict) else None
        if not isinstance(inner, str):
            folder = Path(name) / "model" if (Path(name) / "model").is_dir() else Path(name)
            described = _facts(folder / "manifest.json").get("encoder")
            kind = str(described.get("class")) if isinstance(described, dict) else ""
            return "bag" if kind.endswith(":Bag") else name
        name = inner
    return name


def run_sha256(name: str | None) -> str:
    """The hash of weights and tokenizer of the encoder of a run; "" where the name is not of a run.

    Raises:
        MegalabelError: as `load_run_encoder`, but what the manifest says is not checked.
    """
    if name is None or not is_run(name):
        return ""
    _, manifest = _model(name)
    listed = manifest["sha256"]
    return hashlib.sha256("".join(str(listed.get(part)) for part in PARTS).encode()).hexdigest()


def load_run_encoder(name: str, corpus: Corpus | None = None, prompt: str = DEFAULT) -> Encoder:
    """Loads the encoder of a finished run or of a saved model, on the CPU.

    Args:
        name: the folder of a run or of a model.
        corpus: the corpus that it will be trained on, for the note that `train` prints.
        prompt: "default" for that of the run, "none", or a text.

    Raises:
        SettingError: the run is not finished, or has no single trained encoder, such as `linear`; or the prompt is
            a name, which runs do not keep.
        FormatError: the model is damaged.
    """
    from megalabel.encoders.frozen import Frozen
    from megalabel.models.base import read_model_manifest
    from megalabel.models.neural import FILES
    from megalabel.models.neural_parts import load_encoder
    from megalabel.training.trust import trusted

    folder, _ = _model(name)
    manifest = read_model_manifest(folder, "model", facts=("encoder",), files=FILES)
    encoder = load_encoder(folder, manifest, trusted())
    if isinstance(encoder, Frozen):
        raise _refused(name, "a frozen encoder", f"give the encoder it was: --encoder {plain_name(name)}")
    kept = Prompts({DEFAULT: encoder.tokenizer.prompt})
    encoder.tokenizer = encoder.tokenizer.with_prompt(kept.text(prompt, name))
    encoder.notes = (_note(name, corpus), *kept.notes(prompt, encoder.tokenizer.prompt))
    return encoder


def adapted(
    encoder: Encoder, *, bag: dict[str, Any], transformer: dict[str, Any], dropouts: dict[str, Any], sparse: bool
) -> Encoder:
    """The encoder of a run with the views, dropouts and width of another recipe, and with its own weights.

    Args:
        encoder: what `load_run_encoder` returns; it shares its weights with the result.
        bag: arguments of `Bag` that the recipe sets; each view starts from the last block of the run.
        transformer: arguments of `Transformer` that the recipe sets; readouts take over the pooling of the run.
        dropouts: `dropout` and `token_dropout`.
        sparse: whether the gradients of a transformer's token embeddings are sparse.

    Raises:
        SettingError: an encoder of another kind.
    """
    from dataclasses import replace

    from megalabel.encoders.bag import Bag
    from megalabel.encoders.transformer import Transformer

    new: Encoder
    if isinstance(encoder, Bag):
        n = encoder.n_tokens
        new = Bag(
            encoder.tokenizer, vectors=encoder.table.weight[:n].detach(), bigrams=encoder.get_buffer("bigrams"),
            weights=encoder.get_buffer("weights"), hidden_dim=encoder.hidden_dim, **bag, **dropouts,
        )  # fmt: skip
        new.table, new.norm = encoder.table, encoder.norm
        for block in new.blocks:
            block.load_state_dict(encoder.blocks[-1].state_dict())
        _take(new.widen, encoder.widen)
    elif isinstance(encoder, Transformer):
        pooling = encoder.readouts[-1].pooling
        readouts = [replace(readout, pooling=pooling) for readout in transformer["readouts"]]
        arguments = {
            **transformer, "readouts": readouts, "norm": encoder.norm is not None, "sparse": sparse,
            "after_pooling": encoder.after_configs, "include_prompt": encoder.include_prompt,
        }  # fmt: skip
        new = Transformer(encoder.model, encoder.tokenizer, **arguments)
        _take(new.after_pooling, encoder.after_pooling)
        _take(new.norm, encoder.norm)
        for ours, theirs in zip(new.bottlenecks, encoder.bottlenecks, strict=False):
            _take(ours, theirs)
    else:
        raise SettingError(
            f"a {type(encoder).__name__} as the encoder to start from",
            wanted="a run with a bag or a transformer",
            next_step="start from such a run",
            where="encoder",
        )
    new.notes = encoder.notes
    return new


def _take(ours: Any, theirs: Any) -> None:
    """Copies the weights of a part where both have it, of one shape."""
    if ours is None or theirs is None:
        return
    own, given = ours.state_dict(), theirs.state_dict()
    if {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in given.items()}:
        ours.load_state_dict(given)


def _model(name: str) -> tuple[Path, dict[str, Any]]:
    """The model folder and its manifest; SettingError for a model without a single encoder."""
    from megalabel.models.find import find_model
    from megalabel.storage import migrate

    try:
        folder, manifest = find_model(name)
    except MegalabelError as error:
        wanted = "the folder of a finished run as the encoder"
        raise SettingError(
            f"{name}: {error.found}", wanted=wanted, next_step=error.next_step, where="encoder"
        ) from error
    manifest = migrate.model_manifest(manifest)
    if not isinstance(manifest.get("encoder"), dict) or not isinstance(manifest.get("sha256"), dict):
        kind = str(manifest.get("model", "model")).rpartition(":")[2]
        step = f"give {folder / 'base'}, the model below it" if (folder / "base").is_dir() else None
        raise _refused(name, f"a {kind}, which has no single encoder", step)
    return folder, manifest


def _refused(name: str, found: str, step: str | None) -> SettingError:
    wanted = "a finished run of a recipe with an encoder, such as ngame, renee or dexml"
    step = step or "give such a run, or the name of an encoder: bag, small, minilm"
    return SettingError(f"{name}: {found}", wanted=wanted, next_step=step, where="encoder")


def _note(name: str, corpus: Corpus | None) -> str:
    """What is taken, and whether it was trained on other data."""
    facts = _facts(Path(name) / "recipe.json")
    data = facts.get("data")
    said = f"encoder: weights and tokenizer of {name}"
    if not isinstance(data, dict):
        return said
    said += f" ({facts.get('recipe')} on {data.get('name')})"
    if corpus is not None and data.get("fingerprint") != corpus.fingerprint():
        said += f"; this is other data: {corpus.name}, {len(corpus.train)} texts, {corpus.n_labels} labels"
    return said


@functools.lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _facts(path: Path) -> dict[str, Any]:
    """What a JSON file holds; {} where it cannot be read, which loading will report."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError:
        return {}
