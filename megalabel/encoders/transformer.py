"""`Transformer`: a Hugging Face encoder, pretrained or made from a configuration, with readouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from megalabel.encoders.base import Encoder
from megalabel.encoders.names import find_encoder, similar
from megalabel.encoders.readout import Readout, mean
from megalabel.errors import FormatError, SettingError
from megalabel.inputs.tokenizer import TextTokenizer

JOIN_DROPOUT = 0.2  # before the linear map, as in CascadeXML
ATTENTION = ("eager", "sdpa")  # implementations of attention that need only torch


class Transformer(Encoder):
    """A transformer encoder that maps tokens (B, T) to views (B, V, D), one view per readout.

    Args:
        model: the transformer, which is called with `input_ids` and `attention_mask`.
        tokenizer: the tokenizer of the transformer.
        readouts: one readout per view, all of the same width.
        bottleneck: the width of a linear map without bias after every readout, in float32 (Renée); 0 for none.
        join: whether a readout of several layers is mapped to the width of one layer, by dropout and a linear
            map, as for the coarsest level of CascadeXML.
        dropout: the fraction of the entries of a view that is dropped in training (Renée: 0.5 to 0.85).
        norm: whether every readout is followed by a LayerNorm.
        token_dropout: the fraction of the tokens of a text that is masked in training; the first token never is.
        sparse: whether the gradients of the token embeddings are sparse, for an optimizer that updates only
            their rows.
        checkpointing: whether the backward pass recomputes the activations of each layer, to save memory.

    Raises:
        SettingError: the readouts have different widths, or the tokenizer has more tokens than the encoder.
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
                next_step="give a bottleneck, join, or readouts with the same number of layers",
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
                next_step="use the tokenizer with which the encoder was trained",
            )
        self.max_positions, self.n_layers = _positions(model), int(config.num_hidden_layers)
        self.checkpointing = checkpointing
        if checkpointing:
            config.use_cache = False  # this cache of decoders would only cause a warning
            name = "activation_checkpointing_enable"  # the name since about transformers 5.20
            getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")()

    @classmethod
    def pretrained(cls, name: str, **arguments: Any) -> Transformer:
        """Loads a pretrained encoder.

        Args:
            name: a folder, an encoder that an installed package holds, or a name on the hub.
            arguments: further arguments of the class.

        Raises:
            SettingError: there is no such encoder, its weights are incomplete, or its tokenizer has no fast
                version.
        """
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer

        source = find_encoder(name)
        with _quiet():
            try:
                # Float32 even if the file holds half precision, in which the small steps of AdamW would vanish.
                # trust_remote_code=False, since the default asks on the standard input, which may hold texts.
                model, report = AutoModel.from_pretrained(
                    source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
                )
                tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise SettingError(
                    f"no encoder {name!r} ({first}){similar(name)}",
                    wanted="a folder, an encoder that an installed package holds, or a name on the hub",
                    next_step="run `megalabel doctor`, which lists the encoders that are installed and "
                    "how to install all-MiniLM-L6-v2",
                ) from error
        encoder = _encoder_part(model)
        _check_complete(name, model, encoder, report["missing_keys"])
        return cls(encoder, _fast(tokenizer, name), **arguments)

    @classmethod
    def untrained(cls, config: dict[str, Any], tokenizer: TextTokenizer, **arguments: Any) -> Transformer:
        """Makes an encoder with random weights from a Hugging Face configuration, which includes `model_type`."""
        from transformers import AutoConfig, AutoModel

        # A saved configuration may refer to code (`auto_map`) or to a kernel to download.
        config = {key: value for key, value in config.items() if key != "auto_map"}
        for key in ("attn_implementation", "_attn_implementation"):
            if config.get(key) not in (None, *ATTENTION):
                raise ValueError(f"{key} = {config[key]!r}, which is not one of {', '.join(ATTENTION)}")
        with _quiet():
            shape = AutoConfig.for_model(config.pop("model_type"), **config)
            model = AutoModel.from_config(shape, dtype=torch.float32, trust_remote_code=False)
        return cls(_encoder_part(model), tokenizer, **arguments)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Maps tokens (B, T) int64 and mask (B, T) bool to views (B, V, D) float32."""
        if self.max_positions and tokens.shape[1] > self.max_positions:
            raise SettingError(
                f"texts of {tokens.shape[1]} tokens",
                wanted=f"at most {self.max_positions}, the number of positions of this encoder",
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

    def config(self) -> dict[str, Any]:
        """The Hugging Face configuration and the arguments of the class."""
        config: Any = self.model.config
        return {
            "config": {**config.to_dict(), "model_type": config.model_type},
            "readouts": [readout.config() for readout in self.readouts],
            "bottleneck": self.bottleneck_width,
            "join": self.join,
            "dropout": self.dropout.p,
            "norm": self.norm is not None,
            "token_dropout": self.token_dropout,
            "sparse": self.sparse,
            "checkpointing": self.checkpointing,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: TextTokenizer, folder: Path) -> Transformer:
        """The same shape with weights still to be loaded."""
        arguments = {key: value for key, value in config.items() if key not in ("config", "readouts")}
        readouts = [Readout.from_config(readout) for readout in config["readouts"]]
        try:
            return cls.untrained(config["config"], tokenizer, readouts=readouts, **arguments)
        except (KeyError, ValueError, TypeError) as error:
            raise FormatError(
                f"the configuration of the transformer cannot be loaded ({error})",
                wanted="a configuration that the installed version of transformers supports",
                next_step="install the version in requirements/cpu.txt",
                where=folder,
            ) from error


def _join(wide: int, width: int) -> nn.Module:
    linear = nn.Linear(wide, width)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Dropout(JOIN_DROPOUT), linear)


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


def _positions(model: Any) -> int:
    """The maximum number of tokens, 0 for no limit; RoBERTa models count positions from after the padding id."""
    limit = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return limit if padding is None else limit - padding - 1


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
