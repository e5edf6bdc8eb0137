"""Folders of sentence-transformers: how they pool the tokens of a text, and what they do to a text before.

Such a folder has modules.json, which lists a transformer, a pooling of its tokens and perhaps further modules, and
config_sentence_transformers.json, which may name a prompt that every text begins with. Both become a part of the
encoder and of its tokenizer, so that a saved model needs neither file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from megalabel.storage.reading import parse_json, read_bytes

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The names of sentence-transformers for what `Readout` calls otherwise; first those of its older files.
LEGACY = "pooling_mode_{}"
POOLINGS = {
    "cls": "first", "cls_token": "first", "mean": "mean", "mean_tokens": "mean", "max": "max", "max_tokens": "max",
    "lasttoken": "last", "weightedmean": "weighted_mean", "weightedmean_tokens": "weighted_mean",
    "mean_sqrt_len_tokens": "sqrt_mean",
}  # fmt: skip


@dataclass(frozen=True)
class SentenceSettings:
    """What a folder says beside the weights.

    Attributes:
        pooling: a pooling of `Readout`; "" where it says none.
        prompt: what every text begins with.
        lowercase: whether texts are put into lower case before they are split.
        transformer: the folder of the transformer below the folder, "" for the folder itself.
        notes: sentences on what is left out.
    """

    pooling: str = ""
    prompt: str = ""
    lowercase: bool = False
    transformer: str = ""
    notes: tuple[str, ...] = ()


def settings_of(source: str) -> SentenceSettings:
    """The settings of a folder, or of a model on the hub by its name; the usual ones without modules.json.

    Raises:
        ValueError: a file of the folder is no JSON, or not as sentence-transformers writes it.
        OSError: a file cannot be read.
    """
    modules = _read(source, "modules.json")
    if not isinstance(modules, list) or not modules:
        if modules is None:
            return SentenceSettings()
        raise ValueError("modules.json does not list modules")
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    paths = [_inside(str(module.get("path", ""))) for module in modules]
    if kinds[0] != "Transformer":
        raise ValueError(f"modules.json begins with the module {kinds[0]}; expected a Transformer")
    notes, pooling = [], ""
    for kind, path in zip(kinds[1:], paths[1:], strict=True):
        if kind == "Pooling":
            pooling, note = _pooling(_read(source, f"{path}/config.json"))
            notes += [note] if note else []
        elif kind != "Normalize":  # of no effect on a direction, and heads have scales of their own
            notes.append(f"the module {kind} of the encoder is left out")
    whole = _read(source, "config_sentence_transformers.json") or {}
    name = whole.get("default_prompt_name")
    prompt = (whole.get("prompts") or {}).get(name) if name is not None else None
    own = _read(source, f"{paths[0]}/sentence_bert_config.json" if paths[0] else "sentence_bert_config.json") or {}
    return SentenceSettings(pooling, prompt or "", bool(own.get("do_lower_case")), paths[0], tuple(notes))


def prepare(tokenizer: Tokenizer, settings: SentenceSettings) -> None:
    """Lets a tokenizer begin every text with the prompt and use lower case, in place."""
    from tokenizers import normalizers

    steps: list[Any] = [normalizers.Prepend(settings.prompt)] if settings.prompt else []
    steps += [normalizers.Lowercase()] if settings.lowercase else []
    if steps:
        own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([*steps, *own])


def _pooling(config: Any) -> tuple[str, str]:
    """The pooling of a module, or "" and a note where no readout does the same."""
    config = config or {}
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for mode in POOLINGS if config.get(LEGACY.format(mode))] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if config.get("include_prompt") is False:
        return "", "the encoder pools without the tokens of its prompt, which is not supported"
    if len(modes) == 1 and modes[0] in POOLINGS:
        return POOLINGS[modes[0]], ""
    return "", f"the encoder pools by {' and '.join(map(str, modes))}, which is not supported"


def _inside(path: str) -> str:
    """ValueError for a path that leads out of the folder."""
    parts = PurePosixPath(path.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in path:
        raise ValueError(f"modules.json names the path {path!r}, which is not inside the folder")
    return "" if path in ("", ".") else str(parts)


def _read(source: str, name: str) -> Any:
    """The JSON of a file of a folder or of the hub; None without it."""
    if Path(source).is_dir():
        path = Path(source) / name
    else:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            path = Path(hf_hub_download(source, name))
        except EntryNotFoundError:
            return None
    return parse_json(read_bytes(path)) if path.is_file() else None
