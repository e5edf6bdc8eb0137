"""Shapes of encoders, from a table, a config.json or a finished run, and the bytes that training them takes."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from megalabel.encoders.sentence_transformers import settings_of
from megalabel.errors import SettingError
from megalabel.planning import run_encoder

FLOAT = 4
TYPES = ("bert", "roberta", "xlm-roberta", "distilbert", "camembert", "xlm-roberta-xl")
OWN = ("bag", "small")


@dataclass(frozen=True)
class EncoderShape:
    """The shape of an encoder.

    type: "bag", or the model type of a transformer, as in its config.json.
    layers, hidden, inner, heads: of a transformer; a bag has the width `hidden`, and `inner` in its block.
    vocabulary, positions, types: rows of the embedding tables.
    dropout, attention_dropout: whether they are above 0, which decides what the backward pass needs.
    sparse: whether the token table has sparse gradients and an Adam by rows.
    normed: whether a LayerNorm follows.
    trained: whether it is the encoder of a run, whose vocabulary and block are not those of the options.
    after: the number of weights of modules after the pooling.
    width: the width of a layer of a view, where it is not `hidden`; 0 where it is.
    """

    type: str
    layers: int
    hidden: int
    inner: int
    heads: int
    vocabulary: int
    positions: int
    types: int
    dropout: bool = True
    attention_dropout: bool = True
    sparse: bool = False
    normed: bool = False
    trained: bool = False
    after: int = 0
    width: int = 0

    @property
    def is_bag(self) -> bool:
        """Whether it is a bag of token vectors."""
        return self.type == "bag"

    def table(self) -> int:
        """The number of weights of the token table."""
        return self.vocabulary * self.hidden

    def block(self) -> int:
        """The number of weights of a layer, or of the block of a bag."""
        h, i = self.hidden, self.inner
        if self.is_bag:
            return 2 * h * i + i + 3 * h if i else 0
        return 4 * (h * h + h) + 2 * h * i + i + h + 4 * h

    def dense(self, views: int = 1) -> int:
        """The number of weights besides the token table; `views` counts the blocks of a bag."""
        if self.is_bag:
            return 2 * self.hidden + views * self.block()
        tables = (self.positions + self.types) * self.hidden
        normed = 2 * (self.width or self.hidden) * self.normed
        return tables + 2 * self.hidden + self.layers * self.block() + normed + self.after

    def layer_activations(self, tokens: int, length: int) -> float:
        """Bytes that a layer keeps for the backward pass, for `tokens` tokens in texts of `length`.

        Attention with dropout is computed with its matrix (heads, length, length) of each text in memory: its
        weights before and after dropout, and the mask of the dropout.
        """
        widths = 6 + (2 if self.type == "distilbert" else 3) * self.dropout + 1
        attention = 3 * self.heads * length if self.attention_dropout else 2 * self.heads
        return FLOAT * tokens * (widths * self.hidden + 2 * self.inner + attention + 4)

    def moving(self, tokens: int, length: int) -> float:
        """Bytes of the largest gradients of activations that are in memory at a time."""
        attention = 3 * self.heads * length if self.attention_dropout else 0
        return FLOAT * tokens * max(2 * self.inner + 2 * self.hidden, attention + 4 * self.hidden)

    def embedding_activations(self, tokens: int) -> float:
        """Bytes that the embedding of tokens keeps for the backward pass, without its result."""
        return FLOAT * tokens * self.hidden * (1 + self.dropout) + 16 * tokens


def known() -> list[str]:
    """The names in the table."""
    return list(_table())


def shape_of(name: str, *, vocabulary: int = 0, max_length: int = 128, own_pooling: bool = False) -> EncoderShape:
    """The shape of an encoder.

    Args:
        name: bag, small, a name in the table (with or without its owner on the hub), an encoder that an installed
            package holds, a folder with a config.json, or the folder of a finished run or of a model.
        vocabulary: the number of tokens that bag and small learn; 0 for the bundled vocabulary.
        max_length: tokens read, which is the number of positions of small.
        own_pooling: whether a folder of sentence-transformers pools as it says, with the modules that follow.

    Raises:
        SettingError: the encoder is unknown, a module of it is not supported, its config.json describes a model
            that the planner does not know, or the run has no single encoder.
    """
    folder = Path(name)
    if (folder / "modules.json").is_file():
        return _of_sentences(name, own_pooling)
    if (folder / "config.json").is_file():
        return _of_config(folder / "config.json", name)
    if run_encoder.is_model(folder):
        return _of_run(folder)
    entry = _table().get(name) or _table().get(name.rsplit("/", 1)[-1].casefold())
    if entry is None and (installed := _installed(name)) is not None:
        return _of_config(installed, name)
    if entry is None:
        raise SettingError(
            f"the planner does not know the shape of the encoder {name!r}",
            wanted=f"one of {', '.join(known())}, a finished run, or a folder with a config.json",
            next_step="give the folder of the model, which needs no weights for a plan, or train without --memory",
            where="encoder",
        )
    if name in OWN:
        entry = {**entry, "vocabulary": vocabulary or entry["vocabulary"], "sparse": True}
    if name == "small":
        entry |= {"positions": max(max_length, 8), "normed": True}
    return EncoderShape(**entry)


@functools.cache
def _table() -> dict[str, dict[str, Any]]:
    text = files("megalabel.planning").joinpath("encoders.toml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = tomllib.loads(text)
    return found


def _installed(name: str) -> Path | None:
    """The config.json beside the weights that an installed package holds."""
    text = files("megalabel.encoders").joinpath("packages.toml").read_text(encoding="utf-8")
    for entry in tomllib.loads(text)["encoder"]:
        for package in entry["packages"] if name in entry["names"] else ():
            try:
                found = distribution(package["distribution"]).files or ()
            except PackageNotFoundError:
                continue
            paths = [Path(str(file.locate())) for file in found if str(file).endswith("config.json")]
            weights = [Path(str(file.locate())) for file in found if str(file).endswith(package["weights"])]
            for path in paths:
                if path.name == "config.json" and any(path.parent == weight.parent for weight in weights):
                    return path
    return None


def _of_sentences(name: str, own_pooling: bool) -> EncoderShape:
    """The shape of a folder of sentence-transformers."""
    try:
        settings = settings_of(name)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise SettingError(
            f"the planner cannot read the shape of {name!r} from its modules.json ({error})",
            wanted="a folder as sentence-transformers writes it",
            next_step="train without --memory, which needs no plan",
            where="encoder",
        ) from error
    shape = _of_config(Path(name) / settings.transformer / "config.json", name)
    if not own_pooling or not settings.pooling:
        return shape
    return _followed(shape, settings.pooling, [module.config for module in settings.after])


def _followed(shape: EncoderShape, pooling: str, after: Iterable[Mapping[str, Any]]) -> EncoderShape:
    """The shape with modules after its pooling, by their configs."""
    width, weights = shape.hidden * len(pooling.split("+")), 0
    for config in after:
        out = config.get("out_features", width)
        if config["kind"] == "Dense":
            weights += width * out + out * config["bias"] + (config["residual"] and out != width) * width * out
        elif config["kind"] == "LayerNorm":
            weights += 2 * width
        width = out
    return replace(shape, after=weights, width=0 if width == shape.hidden else width)


def _of_run(folder: Path) -> EncoderShape:
    kind, arguments = run_encoder.described(folder)
    if kind == "Bag":
        return EncoderShape(**run_encoder.bag_shape(folder, arguments), trained=True)
    normed = bool(arguments.get("norm"))  # only `small` has one, and its token table has sparse gradients
    shape = _of_config(arguments.get("config"), str(folder))
    try:
        shape = _followed(shape, str(arguments["readouts"][-1]["pooling"]), arguments.get("after_pooling", ()))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise run_encoder.refused(folder, "a manifest without the shape of the encoder") from error
    return replace(shape, sparse=normed, normed=normed, trained=True)


def _of_config(source: Any, name: str) -> EncoderShape:
    """The shape that a configuration describes, which is given or lies in a file."""
    wanted = f"a config.json of one of the types {', '.join(TYPES)}"
    try:
        config = json.loads(source.read_text(encoding="utf-8")) if isinstance(source, Path) else source
        kind = str(config.get("model_type"))

        def number(*keys: str, default: int | None = None) -> int:
            value = next((config[key] for key in keys if key in config), default)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
                raise ValueError(f"{keys[0]} = {value!r:.40}")
            return value

        if kind not in TYPES:
            raise ValueError(f"the type {kind!r:.40}")
        return EncoderShape(
            type=kind,
            layers=number("num_hidden_layers", "n_layers"),
            hidden=number("hidden_size", "dim"),
            inner=number("intermediate_size", "hidden_dim"),
            heads=number("num_attention_heads", "n_heads"),
            vocabulary=number("vocab_size"),
            positions=number("max_position_embeddings"),
            types=0 if kind == "distilbert" else number("type_vocab_size", default=2),
            dropout=config.get("hidden_dropout_prob", config.get("dropout", 0.1)) > 0,
            attention_dropout=config.get("attention_probs_dropout_prob", config.get("attention_dropout", 0.1)) > 0,
        )
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SettingError(
            f"the planner cannot read the shape of {name!r} from its config.json ({error})",
            wanted=wanted,
            next_step="train without --memory, which needs no plan",
            where="encoder",
        ) from error
