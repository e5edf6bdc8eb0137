"""Hugging Face models: loads their encoders and tokenizers, and makes encoders from configurations."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from megalabel.encoders.names import check_spelling, find_encoder, not_found
from megalabel.encoders.prompts import DEFAULT
from megalabel.encoders.sentence_transformers import SentenceSettings, prepare, settings_of
from megalabel.errors import SettingError
from megalabel.inputs.tokenizer import TextTokenizer

ATTENTION = ("eager", "sdpa")  # implementations of attention that need only torch


class Pretrained(NamedTuple):
    """A pretrained encoder, its tokenizer, and what a folder of sentence-transformers says beside them."""

    model: nn.Module
    tokenizer: TextTokenizer
    settings: SentenceSettings


def load_pretrained(name: str, prompt: str = DEFAULT) -> Pretrained:
    """The parts of a pretrained model; see `Transformer.pretrained`.

    Raises:
        SettingError: there is no such encoder or prompt, the weights are incomplete, a module is not supported, or
            the tokenizer has no fast version.
    """
    from transformers import AutoModel, AutoTokenizer, PreTrainedConfig

    source = find_encoder(name)
    if source == name and not Path(name).is_dir():
        check_spelling(name)
    with _quiet():
        try:
            _check_files(Path(source))
            settings = settings_of(source)
            chosen = settings.prompts.text(prompt, name)  # before the weights are read
            _check_files(Path(source) / settings.transformer)
            below = {"subfolder": settings.transformer}
            _check_attention(PreTrainedConfig.get_config_dict(source, **below)[0])
            # Float32 even if the file holds half precision, in which the small steps of AdamW would vanish.
            # trust_remote_code=False, since the default asks on the standard input, which may hold texts.
            model, report = AutoModel.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False, **below
            )
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **below)
        except SettingError:
            raise
        except (
            BaseException
        ) as error:  # what a folder holds may raise anything, and Rust code panics with no Exception
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise not_found(name, first) from error
    encoder = _encoder_part(model)
    _check_complete(name, model, encoder, report["missing_keys"])
    prepared = _fast(tokenizer, name)
    prepare(prepared.tokenizer, settings)
    return Pretrained(encoder, prepared.with_prompt(chosen), settings)


def make_untrained(config: dict[str, Any]) -> nn.Module:
    """An encoder with random weights from a Hugging Face configuration, which includes `model_type`.

    Raises:
        KeyError, ValueError, TypeError: the installed transformers cannot make such an encoder.
    """
    from transformers import AutoConfig, AutoModel

    config = {key: value for key, value in config.items() if key != "auto_map"}  # which may refer to code
    _check_attention(config)
    with _quiet():
        shape = AutoConfig.for_model(config.pop("model_type"), **config)
        model = AutoModel.from_config(shape, dtype=torch.float32, trust_remote_code=False)
    return _encoder_part(model)


def _check_attention(config: Any) -> None:
    """ValueError where a configuration, or one inside of it, asks for attention by a kernel that is downloaded."""
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if key in ("attn_implementation", "_attn_implementation") and not isinstance(value, dict):
            if value not in (None, *ATTENTION):
                raise ValueError(f"{key} = {value!r}, which is not one of {', '.join(ATTENTION)}")
        elif key == "use_kernels" and value:
            raise ValueError("use_kernels, which downloads compiled code")
        else:
            _check_attention(value)


def _check_files(folder: Path) -> None:
    """OSError for a pipe or a device in a folder, from which reading may never end."""
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            mode = path.stat().st_mode
        except OSError:  # a link to nothing
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(f"{path} is neither a file nor a folder")


def _encoder_part(model: Any) -> nn.Module:
    """The encoder of an encoder-decoder, without the pooler, which no readout reads."""
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    encoder: nn.Module = model
    return encoder


def _check_complete(name: str, model: Any, encoder: nn.Module, missing: Iterable[str]) -> None:
    """Raises SettingError if the file lacks weights, which transformers would fill with random numbers."""
    ours, named = {id(p) for p in encoder.parameters()}, dict(model.named_parameters())
    absent = sorted(key for key in missing if key in named and id(named[key]) in ours)
    if absent:
        raise SettingError(
            f"the weights of {name!r} lack {len(absent)} tensors, the first is {absent[0]}",
            wanted="all weights that its config.json names",
            next_step="save the model again with save_pretrained, under its own tensor names",
        )


def positions_of(model: Any) -> int:
    """The maximum number of tokens, 0 for no limit; RoBERTa models count positions from after the padding id."""
    limit = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return limit if padding is None else limit - padding - 1


def recompute_activations(model: Any) -> None:
    """Lets the backward pass of a model recompute the activations of each layer."""
    model.config.use_cache = False  # this cache of decoders would only cause a warning
    name = "activation_checkpointing_enable"  # the name since about transformers 5.20
    getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")()


def _fast(tokenizer: Any, name: str) -> TextTokenizer:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or len(tokenizer) <= len(tokenizer.all_special_tokens):
        found = "has no fast version" if backend is None else "has special tokens only"
        raise SettingError(
            f"the tokenizer of {name!r} {found}",
            wanted="a tokenizer.json",
            next_step="convert it with transformers and save it beside the model",
        )
    return TextTokenizer(backend, pad_id=int(tokenizer.pad_token_id or 0))


class _quiet:
    """Silences the progress bars and reports of transformers inside a with block."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self.verbosity, self.bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self.verbosity)
        if self.bars:
            logging.enable_progress_bar()
