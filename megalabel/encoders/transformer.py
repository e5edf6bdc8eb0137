"""`Transformer`: a Hugging Face encoder, pretrained or made from a configuration, with readouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from megalabel.encoders.after_pooling import joining, load_after, modules_after, width_after
from megalabel.encoders.base import Encoder
from megalabel.encoders.hugging_face import load_pretrained, make_untrained, positions_of, recompute_activations
from megalabel.encoders.prompts import DEFAULT
from megalabel.encoders.readout import Readout, mean
from megalabel.encoders.weights import load_weights
from megalabel.encoders.windows import average, split_windows
from megalabel.errors import FormatError, SettingError
from megalabel.inputs.tokenizer import TextTokenizer


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
        gradient_checkpointing: whether the backward pass recomputes the activations of each layer, to save memory.
        after_pooling: the configs of modules that every view goes through after its readout, as in folders of
            sentence-transformers; see `encoders.after_pooling`.
        include_prompt: whether readouts pool the tokens of the tokenizer's prompt, too.
        windows: how many windows of `window_length` tokens are read of a long text; their views are averaged.
        window_length: the most tokens of a window, which `windows` above 1 need.

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
        gradient_checkpointing: bool = False,
        after_pooling: Sequence[Mapping[str, Any]] = (),
        include_prompt: bool = True,
        windows: int = 1,
        window_length: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.readouts, self.bottleneck_width = tuple(readouts), bottleneck
        config: Any = model.config
        hidden, self.n_layers = int(config.hidden_size), int(config.num_hidden_layers)
        self.after_configs, self.include_prompt = tuple(map(dict, after_pooling)), include_prompt
        pooled = [width_after(self.after_configs, readout.parts * hidden) for readout in self.readouts]
        self.after_pooling = modules_after(self.after_configs)
        self.join = join and not self.after_configs  # which give all views one width
        widths = {bottleneck or (hidden if self.join else width) for width in pooled}
        if len(widths) != 1:
            raise SettingError(
                f"readouts of widths {sorted(widths)}",
                wanted="views of one width",
                next_step="give a bottleneck, join, or readouts with the same number of layers",
            )
        self.n_views, self.dim = len(self.readouts), widths.pop()
        self.bottlenecks = nn.ModuleList(
            nn.Linear(width, bottleneck, bias=False) for width in pooled if bottleneck
        )
        self.joins = nn.ModuleList(
            joining(readout.parts * hidden, hidden)
            if self.join and not bottleneck and readout.parts > 1
            else nn.Identity()
            for readout in self.readouts
        )
        self.norm = nn.LayerNorm(self.dim) if norm else None
        self.dropout, self.token_dropout = nn.Dropout(dropout), token_dropout
        self.n_prompt = 0 if include_prompt else tokenizer.n_before  # tokens that readouts leave out
        self.sparse = sparse
        table: Any = model.get_input_embeddings()  # type: ignore[operator]
        table.sparse = sparse
        if tokenizer.vocabulary_size > table.num_embeddings:
            raise SettingError(
                f"a tokenizer of {tokenizer.vocabulary_size} tokens, an encoder of {table.num_embeddings}",
                wanted="a vector for every token",
                next_step="use the tokenizer with which the encoder was trained",
            )
        self.max_positions, self.gradient_checkpointing = positions_of(model), gradient_checkpointing
        self.windows, self.window_length = windows, window_length
        if gradient_checkpointing:
            recompute_activations(model)

    @classmethod
    def pretrained(
        cls,
        name: str,
        *,
        weights: str | Path | None = None,
        own_pooling: bool | None = False,
        prompt: str = DEFAULT,
        **arguments: Any,
    ) -> Transformer:
        """Loads a pretrained encoder.

        Args:
            name: a folder, an encoder that an installed package holds, or a name on the hub.
            weights: a file of tensors that replace those of the encoder; see `encoders.weights`.
            own_pooling: whether readouts pool as the folder of sentence-transformers says, and are followed by its
                modules; None: if it says so.
            prompt: what the tokenizer puts before every text: "default" for what the folder says, "none", the name
                of one of its prompts, or a text.
            arguments: further arguments of the class.

        Raises:
            SettingError: there is no such encoder, its weights are incomplete, its tokenizer has no fast version,
                the file of weights is of another shape, or the encoder has no pooling of its own.
            FormatError: the file of weights is missing or damaged.
        """
        model, tokenizer, settings = load_pretrained(name, prompt)
        notes = [] if weights is None else [load_weights(model, weights)]
        if own_pooling and not settings.pooling:
            raise SettingError(
                f"the encoder {name!r}, which states no pooling or one that is not supported",
                wanted="a folder of sentence-transformers with one pooling",
                next_step="choose first, mean, max or last",
                where="pooling",
            )
        if own_pooling is not False and settings.pooling:
            readouts = arguments.get("readouts", (mean(),))
            arguments["readouts"] = [replace(readout, pooling=settings.pooling) for readout in readouts]
            arguments["after_pooling"] = [module.config for module in settings.after]
            arguments["include_prompt"] = settings.include_prompt
        elif settings.after:
            names = ", ".join(module.config["kind"] for module in settings.after)
            notes.append(f"what follows the pooling of the encoder is left out, as is this pooling: {names}")
        encoder = cls(model, tokenizer, **arguments)
        if encoder.after_configs:
            load_after(encoder.after_pooling, settings.after)
        encoder.notes = (*settings.notes, *settings.prompts.notes(prompt, tokenizer.prompt), *notes)
        return encoder

    @classmethod
    def untrained(cls, config: dict[str, Any], tokenizer: TextTokenizer, **arguments: Any) -> Transformer:
        """Makes an encoder with random weights from a Hugging Face configuration, which includes `model_type`."""
        return cls(make_untrained(config), tokenizer, **arguments)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Maps tokens (B, T) int64 and mask (B, T) bool to views (B, V, D) float32."""
        if self.windows > 1 and tokens.shape[1] > self.window_length:
            tokenizer = self.tokenizer
            cut = split_windows(tokens, mask, self.window_length, tokenizer.n_special, tokenizer.pad_id)
            first = cut.texts.diff(prepend=cut.texts.new_full((1,), -1)) > 0
            views = average(self._views(cut.tokens, cut.mask, first), cut, len(tokens))
        else:
            views = self._views(tokens, mask)
        dropped: Tensor = self.dropout(views)
        return dropped

    def _views(self, tokens: Tensor, mask: Tensor, first: Tensor | None = None) -> Tensor:
        """The views of texts or windows, before dropout; `first` (B,) says which windows begin a text."""
        if self.max_positions and tokens.shape[1] > self.max_positions:
            raise SettingError(
                f"texts of {tokens.shape[1]} tokens",
                wanted=f"at most {self.max_positions}, the number of positions of this encoder",
                next_step="lower max_length, or read the texts in windows (--windows)",
            )
        if self.training and self.token_dropout:
            kept = torch.rand(mask.shape, device=mask.device) >= self.token_dropout
            kept[:, 0] = True
            mask = mask & kept
        last_only = all(readout.layers == (1.0,) for readout in self.readouts)
        out = self.model(input_ids=tokens, attention_mask=mask.long(), output_hidden_states=not last_only)
        hidden = (out.last_hidden_state,) if last_only else out.hidden_states
        read = None
        if self.n_prompt:
            read = mask & (torch.arange(mask.shape[1], device=mask.device) >= self.n_prompt)
            read = read if first is None else torch.where(first[:, None], read, mask)
        views = [readout(hidden, mask, read) for readout in self.readouts]
        for module in self.after_pooling:
            views = [module(view) for view in views]
        if self.bottleneck_width:
            with torch.autocast(tokens.device.type, enabled=False):
                views = [linear(view.float()) for linear, view in zip(self.bottlenecks, views, strict=True)]
        views = [join(view) for join, view in zip(self.joins, views, strict=True)]
        stacked = torch.stack(views, dim=1).float()
        if self.norm is not None:
            stacked = self.norm(stacked)
        return stacked

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
            "gradient_checkpointing": self.gradient_checkpointing,
            "after_pooling": [dict(config) for config in self.after_configs],
            "include_prompt": self.include_prompt,
            "prompt": self.tokenizer.prompt,
            "windows": self.windows,
            "window_length": self.window_length,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: TextTokenizer, folder: Path) -> Transformer:
        """The same shape with weights still to be loaded."""
        arguments = {key: value for key, value in config.items() if key not in ("config", "readouts", "prompt")}
        readouts = [Readout.from_config(readout) for readout in config["readouts"]]
        try:
            prompted = tokenizer.with_prompt(config.get("prompt", ""))
            return cls.untrained(config["config"], prompted, readouts=readouts, **arguments)
        except (FormatError, SettingError):
            raise
        except Exception as error:  # transformers checks values by errors of its own
            raise FormatError(
                f"the configuration of the transformer cannot be loaded ({error})",
                wanted="a configuration that the installed version of transformers supports",
                next_step="install the version in requirements/cpu.txt",
                where=folder,
            ) from error
