"""Any Hugging Face encoder, pretrained or from a configuration, with its readouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from megalabel.encoders.base import Encoder
from megalabel.encoders.names import find
from megalabel.encoders.readout import Readout, mean
from megalabel.errors import FormatError, SettingError
from megalabel.inputs.tokenizer import TextTokenizer

JOIN_DROPOUT = 0.2  # CascadeXML, before the linear map
ATTENTION = ("eager", "sdpa")  # implementations of attention that come with torch


class Transformer(Encoder):
    """A transformer encoder: tokens (B, T) to views (B, V, D), one view per readout.

    Args:
        model: the transformer, called with `input_ids` and `attention_mask`.
        tokenizer: its tokenizer.
        readouts: one view each, all of the same width.
        bottleneck: a linear map without bias to this width behind every readout, in float32 (Renée);
            0 for none.
        join: bring a readout of several layers to the width of one by dropout and a linear map, so that it can
            stand beside readouts of one layer (CascadeXML's coarsest level).
        dropout: share of the view's entries dropped in training (Renée: 0.5 to 0.85).
        norm: a LayerNorm behind every readout.
        token_dropout: share of a text's tokens hidden in training; the first token always stays.
        sparse: give the token table sparse gradients, for an optimiser that moves only touched rows.
        checkpointing: recompute each layer's activations in the backward pass, to save memory.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: TextTokenizer,
        *,
        readouts: Sequence[Readout] = (mean(),),
        bottleneck: int = 0,
        join: bool = False,
        dropout: float = 0.0,
        norm: bool = False,
        token_dropout: float = 0.0,
        sparse: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.readouts, self.bottleneck_width = tuple(readouts), bottleneck
        config: Any = model.config
        hidden = int(config.hidden_size)
        widths = {bottleneck or (1 if join else readout.parts) * hidden for readout in self.readouts}
        if len(widths) != 1:
            raise SettingError(
                f"readouts of widths {sorted(widths)}",
                wanted="views of one width",
                next_step="give a bottleneck, join, or readouts of as many layers each",
            )
        self.n_views, self.dim = len(self.readouts), widths.pop()
        self.bottlenecks = nn.ModuleList(
            nn.Linear(readout.parts * hidden, bottleneck, bias=False) for readout in self.readouts if bottleneck
        )
        self.joins = nn.ModuleList(
            _join(readout.parts * hidden, hidden)
            if join and not bottleneck and readout.parts > 1
            else nn.Identity()
            for readout in self.readouts
        )
        self.join = join
        self.norm = nn.LayerNorm(self.dim) if norm else None
        self.dropout, self.token_dropout = nn.Dropout(dropout), token_dropout
        self.sparse = sparse
        table: Any = model.get_input_embeddings()  # type: ignore[operator]
        table.sparse = sparse
        if tokenizer.vocabulary_size > table.num_embeddings:
            raise SettingError(
                f"a tokenizer of {tokenizer.vocabulary_size} tokens, an encoder of {table.num_embeddings}",
                wanted="a vector for every token",
                next_step="take the tokenizer that the encoder was trained with",
            )
        self.max_positions, self.n_layers = _positions(model), int(config.num_hidden_layers)
        self.checkpointing = checkpointing
        if checkpointing:
            config.use_cache = False  # a decoder's; it would only be warned about
            name = "activation_checkpointing_enable"  # its name from transformers 5.20 or so on
            getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")()

    @classmethod
    def pretrained(cls, name: str, **arguments: Any) -> Transformer:
        """The encoder called `name`: a folder, an installed package that carries it, or the hub.

        `arguments` are those of the class. SettingError if there is no such encoder.
        """
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer

        source = find(name)
        with _quiet():
            try:
                # Float32 even where the file holds halves: AdamW's small steps vanish in half weights.
                # trust_remote_code=False, since the default asks on standard input, where texts may come from.
                model, report = AutoModel.from_pretrained(
                    source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
                )
                tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise SettingError(
                    f"no encoder {name!r} ({first})",
                    wanted="a folder, an encoder that an installed package carries, or a name on the hub",
                    next_step="run `megalabel doctor`, which lists the encoders that are installed and "
                    "how to install all-MiniLM-L6-v2",
                ) from error
        half = _encoder_half(model)
        _must_be_whole(name, model, half, report["missing_keys"])
        return cls(half, _fast(tokenizer, name), **arguments)

    @classmethod
    def untrained(cls, config: dict[str, Any], tokenizer: TextTokenizer, **arguments: Any) -> Transformer:
        """Random weights in the shape of a Hugging Face configuration (with its `model_type`)."""
        from transformers import AutoConfig, AutoModel

        # A saved configuration may name code of its own (`auto_map`) or a kernel to download.
        config = {key: value for key, value in config.items() if key != "auto_map"}
        for key in ("attn_implementation", "_attn_implementation"):
            if config.get(key) not in (None, *ATTENTION):
                raise ValueError(f"{key} = {config[key]!r}, which is not one of {', '.join(ATTENTION)}")
        with _quiet():
            shape = AutoConfig.for_model(config.pop("model_type"), **config)
            model = AutoModel.from_config(shape, dtype=torch.float32, trust_remote_code=False)
        return cls(_encoder_half(model), tokenizer, **arguments)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (B, T) int64, mask (B, T) bool to views (B, V, D) float32."""
        if self.max_positions and tokens.shape[1] > self.max_positions:
            raise SettingError(
                f"texts of {tokens.shape[1]} tokens",
                wanted=f"at most {self.max_positions}, all that this encoder has positions for",
                next_step="lower max_length",
            )
        if self.training and self.token_dropout:
            kept = torch.rand(mask.shape, device=mask.device) >= self.token_dropout
            kept[:, 0] = True
            mask = mask & kept
        last_only = all(readout.layers == (1.0,) for readout in self.readouts)
        out = self.model(input_ids=tokens, attention_mask=mask.long(), output_hidden_states=not last_only)
        hidden = (out.last_hidden_state,) if last_only else out.hidden_states
        views = [readout(hidden, mask) for readout in self.readouts]
        if self.bottleneck_width:
            with torch.autocast(tokens.device.type, enabled=False):
                views = [linear(view.float()) for linear, view in zip(self.bottlenecks, views, strict=True)]
        views = [join(view) for join, view in zip(self.joins, views, strict=True)]
        stacked = torch.stack(views, dim=1).float()
        if self.norm is not None:
            stacked = self.norm(stacked)
        dropped: Tensor = self.dropout(stacked)
        return dropped

    def settings(self) -> dict[str, Any]:
        """The Hugging Face configuration and the arguments of the class."""
        config: Any = self.model.config
        return {
            "config": {**config.to_dict(), "model_type": config.model_type},
            "readouts": [readout.settings() for readout in self.readouts],
            "bottleneck": self.bottleneck_width,
            "join": self.join,
            "dropout": self.dropout.p,
            "norm": self.norm is not None,
            "token_dropout": self.token_dropout,
            "sparse": self.sparse,
            "checkpointing": self.checkpointing,
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any], tokenizer: TextTokenizer, folder: Path) -> Transformer:
        """The same shape with weights still to be loaded."""
        arguments = {key: value for key, value in settings.items() if key not in ("config", "readouts")}
        readouts = [Readout.from_settings(readout) for readout in settings["readouts"]]
        try:
            return cls.untrained(settings["config"], tokenizer, readouts=readouts, **arguments)
        except (KeyError, ValueError, TypeError) as error:
            raise FormatError(
                f"the transformer's configuration does not load ({error})",
                wanted="a configuration that the installed transformers knows",
                next_step="install the version that requirements/cpu.txt names",
                where=folder,
            ) from error


def _join(wide: int, width: int) -> nn.Module:
    linear = nn.Linear(wide, width)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Dropout(JOIN_DROPOUT), linear)


def _encoder_half(model: Any) -> nn.Module:
    """The encoder of an encoder-decoder, without the pooler that no readout reads (it would stay untrained)."""
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    half: nn.Module = model
    return half


def _must_be_whole(name: str, model: Any, half: nn.Module, missing: Iterable[str]) -> None:
    """Transformers fills what a file lacks with random numbers; that is refused here."""
    ours, named = {id(p) for p in half.parameters()}, dict(model.named_parameters())
    absent = sorted(key for key in missing if key in named and id(named[key]) in ours)
    if absent:
        raise SettingError(
            f"the weights of {name!r} lack {len(absent)} tensors, {absent[0]} the first",
            wanted="all weights that its config.json names",
            next_step="save the model again with save_pretrained, under its own tensor names",
        )


def _positions(model: Any) -> int:
    """The longest text in tokens, 0 for no limit; RoBERTa's kin count positions from behind the padding id."""
    most = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return most if padding is None else most - padding - 1


def _fast(tokenizer: Any, name: str) -> TextTokenizer:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or len(tokenizer) <= len(tokenizer.all_special_tokens):
        found = "has no fast version" if backend is None else "knows no words, only special tokens"
        raise SettingError(
            f"the tokenizer of {name!r} {found}",
            wanted="a tokenizer.json",
            next_step="convert it once with transformers and save it beside the model",
        )
    return TextTokenizer(backend, pad_id=int(tokenizer.pad_token_id or 0))


class _quiet:
    """Transformers' own bars and load reports, silenced for a while."""

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
