"""Folders of sentence-transformers: their modules, how they pool the tokens of a text, and their prompts.

Such a folder has modules.json, which lists a transformer, a pooling of its tokens and perhaps further modules, and
config_sentence_transformers.json, which may name prompts that texts begin with. All of it becomes a part of the
encoder and of its tokenizer, so that a saved model needs none of these files. Read without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from megalabel.encoders.prompts import Prompts, read_prompts
from megalabel.errors import SettingError
from megalabel.storage.reading import parse_json, read_bytes

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The names of sentence-transformers for what `Readout` calls otherwise; first those of its older files, in the
# order in which it puts several side by side.
LEGACY = "pooling_mode_{}"
POOLINGS = {
    "cls_token": "first", "max_tokens": "max", "mean_tokens": "mean", "mean_sqrt_len_tokens": "sqrt_mean",
    "weightedmean_tokens": "weighted_mean", "lasttoken": "last",
    "cls": "first", "max": "max", "mean": "mean", "weightedmean": "weighted_mean",
}  # fmt: skip
OWN = "sentence_transformers."  # what the types of its own modules begin with


@dataclass(frozen=True)
class Module:
    """A module after the pooling.

    Attributes:
        config: its kind and shape, as `encoders.after_pooling` takes it.
        weights: the file of its tensors; None for a module without any.
    """

    config: Mapping[str, Any]
    weights: Path | None = None


@dataclass(frozen=True)
class SentenceSettings:
    """What a folder says beside the weights.

    Attributes:
        pooling: a pooling of `Readout`; "" where it says none.
        include_prompt: whether the pooling reads the tokens of the prompt, too.
        after: the modules after the pooling.
        prompts: what texts may begin with.
        lowercase: whether texts are put into lower case before they are split.
        transformer: the folder of the transformer below the folder, "" for the folder itself.
        notes: sentences on what is left out.
    """

    pooling: str = ""
    include_prompt: bool = True
    after: tuple[Module, ...] = ()
    prompts: Prompts = field(default_factory=Prompts)
    lowercase: bool = False
    transformer: str = ""
    notes: tuple[str, ...] = ()


def settings_of(source: str) -> SentenceSettings:
    """The settings of a folder, or of a model on the hub by its name; the usual ones without modules.json.

    Raises:
        SettingError: the folder has a module that is not supported.
        ValueError: a file of the folder is no JSON, or not as sentence-transformers writes it.
        OSError: a file cannot be read.
    """
    modules = _read(source, "modules.json")
    if modules is None:
        return SentenceSettings()
    if not isinstance(modules, list) or not modules:
        raise ValueError("modules.json does not list modules")
    prompts = read_prompts(_read(source, "config_sentence_transformers.json") or {})
    types = [str(module["type"]) for module in modules]
    kinds = [name.rpartition(".")[2] if name.startswith(OWN) else name for name in types]
    paths = [_inside(str(module.get("path", ""))) for module in modules]
    if kinds[0] != "Transformer":
        other = "choose another encoder; `megalabel doctor` lists those that are installed"
        if kinds[0] == "StaticEmbedding":
            other = "choose the encoder bag, which also adds up a vector per token, or a transformer"
        raise _unsupported(source, f"begins with the module {kinds[0]}", other)
    pooling, include_prompt, after, notes = "", True, [], []
    for i, (kind, path) in enumerate(zip(kinds[1:], paths[1:], strict=True), 1):
        config = _read(source, f"{path}/config.json" if path else "config.json") or {}
        if kind == "Pooling" and i == 1:
            pooling, include_prompt, note = _pooling(config)
            notes += [note] if note else []
        elif kind in AFTER and i > 1:
            _check_reads(source, kind, config)
            after.append(AFTER[kind](source, path, config))
        elif kind == "Dropout":
            notes.append("the module Dropout of the encoder is left out; recipes have a dropout of their own")
        else:
            raise _unsupported(source, f"has the module {kind} after {kinds[i - 1]}")
    if after and after[-1].config["kind"] == "Normalize":  # of no effect on a direction
        after.pop()
        notes.append("the last module Normalize of the encoder is left out: heads read vectors of any length")
    own = _read(source, f"{paths[0]}/sentence_bert_config.json" if paths[0] else "sentence_bert_config.json") or {}
    lowercase = bool(own.get("do_lower_case"))
    return SentenceSettings(pooling, include_prompt, tuple(after), prompts, lowercase, paths[0], tuple(notes))


def prepare(tokenizer: Tokenizer, settings: SentenceSettings) -> None:
    """Lets a tokenizer use lower case where the settings say so, in place."""
    from tokenizers import normalizers

    if settings.lowercase:
        own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def _pooling(config: Any) -> tuple[str, bool, str]:
    """A pooling and whether it reads the prompt; "" and a note where no readout does the same."""
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for mode in POOLINGS if config.get(LEGACY.format(mode))] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if modes and all(mode in POOLINGS for mode in modes):
        return "+".join(POOLINGS[mode] for mode in modes), config.get("include_prompt") is not False, ""
    return "", True, f"the encoder pools by {' and '.join(map(str, modes))}, which is not supported"


def _dense(source: str, path: str, config: Any) -> Module:
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    if not activation.startswith("torch."):
        raise _unsupported(source, f"has a module Dense with the activation function {activation}")
    shape = {
        "kind": "Dense",
        "in_features": _size(config, "in_features"), "out_features": _size(config, "out_features"),
        "bias": config.get("bias") is not False, "activation": activation.rpartition(".")[2],
        "residual": bool(config.get("use_residual")),
    }  # fmt: skip
    return Module(shape, _weights(source, path))


def _layer_norm(source: str, path: str, config: Any) -> Module:
    return Module({"kind": "LayerNorm", "features": _size(config, "dimension")}, _weights(source, path))


def _normalize(source: str, path: str, config: Any) -> Module:
    return Module({"kind": "Normalize"})


AFTER: dict[str, Callable[[str, str, Any], Module]] = {
    "Dense": _dense, "LayerNorm": _layer_norm, "Normalize": _normalize,
}  # fmt: skip


def _check_reads(source: str, kind: str, config: Any) -> None:
    """SettingError for a module that maps the vectors of tokens, or keeps its input beside its result."""
    reads = config.get("module_input_name") or "sentence_embedding"
    for name in (reads, config.get("module_output_name") or reads):
        if name != "sentence_embedding":
            raise _unsupported(source, f"has a module {kind} for {name}")


def _size(config: Any, name: str) -> int:
    value = config.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"a module with {name} = {value!r:.40}")
    return value


def _weights(source: str, path: str) -> Path:
    """The file of the tensors of a module."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        file = _find(source, f"{path}/{name}")
        if file is not None:
            return file
    raise ValueError(f"{path} holds neither model.safetensors nor pytorch_model.bin")


def _unsupported(source: str, found: str, next_step: str = "") -> SettingError:
    return SettingError(
        f"the encoder {source!r} {found}",
        wanted=f"a Transformer and a Pooling, followed by {', '.join(AFTER)} or nothing",
        next_step=next_step or "take the transformer alone, by a copy of the folder without modules.json",
        where="encoder",
    )


def _inside(path: str) -> str:
    """ValueError for a path that leads out of the folder."""
    parts = PurePosixPath(path.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in path:
        raise ValueError(f"modules.json names the path {path!r}, which is not inside the folder")
    return "" if path in ("", ".") else str(parts)


def _find(source: str, name: str) -> Path | None:
    """A file of a folder or of the hub; None without it."""
    if Path(source).is_dir():
        path = Path(source) / name
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(source, name))
    except EntryNotFoundError:
        return None


def _read(source: str, name: str) -> Any:
    """The JSON of a file of a folder or of the hub; None without it."""
    path = _find(source, name)
    return None if path is None else parse_json(read_bytes(path))
