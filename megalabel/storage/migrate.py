"""Translates what earlier versions wrote to current names: model manifests, tensors, and recipe.json of runs."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

# Classes that were renamed or moved since, as manifests name them.
CLASSES = {
    "megalabel.model:Model": "megalabel.models.neural:NeuralClassifier",
    "megalabel.linear_model:LinearModel": "megalabel.models.linear:LinearClassifier",
    "megalabel.hybrid_model:HybridModel": "megalabel.models.hybrid:HybridClassifier",
    "megalabel.ensemble:Ensemble": "megalabel.models.ensemble:Ensemble",
    "megalabel.heads.dealt:Dealt": "megalabel.heads.wrappers.partitioned:PartitionedHead",
    "megalabel.heads.intermediate:WithIntermediate": "megalabel.heads.wrappers.projection:WithProjection",
    "megalabel.heads.auxiliary:WithAuxiliary": "megalabel.heads.wrappers.auxiliary:WithAuxiliary",
}

# Options that were renamed after version 0.1.0, in all recipes that have them.
OPTIONS = {
    "split": "token_pattern",
    "word_pairs": "bigrams",
    "pieces": "char_ngrams",
    "piece_words": "char_ngrams_max_words",
    "label_rows": "label_texts",
    "joined_trees": "joint_trees",
    "embedding": "embedding_norm",
    "keep": "cluster_features",
    "cost": "c",
    "eps": "tol",
    "rounds": "max_iter",
    "threshold": "prune_below",
    "beam": "beam_size",
    "chance": "post_processor",
    "depths": "clusters",
    "scores": "path_score",
    "pairs": "bigram_min_count",
    "hidden": "hidden_dim",
    "pool": "pooling",
    "intermediate": "projection_dim",
    "intermediate_activation": "projection_activation",
    "intermediate_lr": "projection_lr",
    "dense_share": "dense_fraction",
    "connect": "init_connections",
    "growth": "regrow",
    "growth_start": "regrow_init",
    "keep_moments": "keep_optimizer_state",
    "auxiliary_share": "auxiliary_weight",
    "tree_unit": "tree_normalize",
    "tree_features": "tree_cluster_features",
    "prior": "bias_from_prior",
    "head_scale": "head_init_scale",
    "head_std": "head_init_std",
    "sparse_tokens": "sparse_embedding_updates",
    "clip": "max_grad_norm",
    "checkpointing": "gradient_checkpointing",
    "micro_batches": "accumulation_steps",
    "loss_every": "log_every",
    "validation": "validation_fraction",
    "select": "selection_metric",
}
# Options added since version 0.1.0, with what was done before: one value, or one per recipe.
ADDED: dict[str, Any] = {
    "encoder_optimizer": "adamw",
    "encoder_betas": (0.9, 0.999),
    "encoder_eps": {"renee": 1e-6, "cascadexml": 1e-6, "spartex": 1e-8, "lightxml": 1e-8, "dexml": 1e-8},
    "token_betas": (0.9, 0.999),
    "token_eps": 1e-8,
    "head_betas": (0.9, 0.999),
    "head_eps": {"renee": 1e-6, "cascadexml": 1e-6, "lightxml": 1e-6, "spartex": 1e-8},
    "projection_weight_decay": 0.01,
    "auxiliary_weight_decay": 0.01,
    "prune_anneal": True,
    "dense_updates": False,
    "windows": 1,
    "prompt": "default",
    "weights": dict.fromkeys(("renee", "cascadexml", "spartex", "linear"), "float32"),
    "momentum_dtype": "float32",
    "compensated_fraction": 0.0,
    "label_groups": None,
    "encoder_weights": None,
    "compile": False,
    "validate_epochs": 1.0,
    "last_layers": {"lightxml": 5, "spartex": 1},
    "bigram_weight": 1.0,
    "char_ngram_lengths": (3, 5),
}
DEEPEST = 62  # of a tree of 0.1.0: beyond is no number that an array could have
# Keys of the configs of classes, by the name of the class without its module.
CONFIG_KEYS = {
    "CascadeHead": {"scores": "path_score"},
    "WithAuxiliary": {"share": "loss_weight"},
    "Bag": {"hidden": "hidden_dim", "n_pairs": "n_bigrams", "views": "n_views"},
    "Frozen": {"hidden": "hidden_dim"},
    "Transformer": {"checkpointing": "gradient_checkpointing"},
}
# Tensors that were renamed, by the last part of their name.
TENSORS = {"place": "label_to_row", "pairs": "bigrams"}
HELD_OUT_FOR_HYBRID = 0.05  # what version 0.1.0 held out with `hybrid` where `validation` was 0


def model_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a saved model with current class paths and keys; a current manifest is unchanged."""
    new = {key: _renamed(value) for key, value in manifest.items() if key != "sha256"}
    if {"joined", "alone"} <= manifest.keys():
        new["joint_trees"] = _named(new.pop("joined"), "joined")
        new["word_trees"] = _named(new.pop("alone"), "alone")
        new["base"] = "first"
    return {**new, "sha256": manifest.get("sha256")}


def recipe_json(facts: dict[str, Any]) -> dict[str, Any]:
    """The content of a run's recipe.json with current names."""
    arguments = facts.get("arguments")
    return {**facts, "arguments": migrate_arguments(arguments)} if isinstance(arguments, dict) else facts


def with_added(recipe: str, arguments: Any, options: Iterable[str]) -> Any:
    """The arguments of a recipe, and of those of its options that did not exist then, what was done."""
    if not isinstance(arguments, dict):
        return arguments
    added = {name: ADDED[name] for name in options if name in ADDED and name not in arguments}
    of_recipe = {k: v.get(recipe) if isinstance(v, dict) else v for k, v in added.items()}
    return {**arguments, **{k: list(v) if isinstance(v, tuple) else v for k, v in of_recipe.items()}}


def held_out(facts: dict[str, Any]) -> tuple[float, int]:
    """The fraction of its training texts that a run of 0.1.0 held out, and the seed of the draw.

    facts: its recipe.json with current names.
    """
    arguments = facts["arguments"]
    return float(arguments.get("validation_fraction", 0.0)), int(arguments.get("seed", 0))


def migrate_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a recipe of version 0.1.0 as current options; current ones are unchanged.

    `hybrid = true`, which was an option of three recipes, becomes `second_stage = "hybrid"`, which is not an
    option.
    """
    if isinstance(arguments.get("bigrams"), bool):  # of a version between 0.1.0 and 0.2.0
        arguments = {**arguments, "bigrams": "yes" if arguments["bigrams"] else "no"}
    if not any(name in arguments for name in (*OPTIONS, "hybrid")):
        return arguments
    found = {OPTIONS.get(name, name): value for name, value in arguments.items()}
    if "clusters" in found:
        found["clusters"] = [2 ** min(depth, DEEPEST) for depth in found["clusters"]]
    for name in ("label_texts", "bigrams"):
        if isinstance(found.get(name), bool):
            found[name] = "yes" if found[name] else "no"
    if found.get("tokenizer") == "own":
        found["tokenizer"] = "wordpiece"
    found.update(_path_score(found))
    for name in ("reduction", "tree"):
        if found.get(name) == "":
            found[name] = None
    if found.pop("hybrid", False):
        found["second_stage"] = "hybrid"
        found["validation_fraction"] = found.get("validation_fraction") or HELD_OUT_FOR_HYBRID
    return found


def tensor_names(tensors: dict[str, Any], expected: Container[str]) -> dict[str, Any]:
    """Renames the entries of a file of tensors if the module expects them under their current names."""

    def renamed(name: str) -> str:
        prefix, dot, last = name.rpartition(".")
        new = f"{prefix}{dot}{TENSORS.get(last, last)}"
        return new if name not in expected and new in expected else name

    return {renamed(name): entry for name, entry in tensors.items()}


def _renamed(value: Any) -> Any:
    """Class paths and the key of a class's arguments, at any depth."""
    if isinstance(value, dict):
        new = {key: _renamed(inside) for key, inside in value.items()}
        if "class" in new and isinstance(config := new.pop("settings", new.get("config")), dict):
            keys = CONFIG_KEYS.get(str(new["class"]).rpartition(":")[2], {})
            config = {keys.get(key, key): inside for key, inside in config.items()}
            new["config"] = {**config, **_path_score(config)}
        if {"beams", "scores"} <= new.keys() and "sizes" not in new:  # a tree of a linear classifier
            new["post_processor"] = new.pop("scores")
        if new.keys() == {"layers", "pool"}:
            new["pooling"] = new.pop("pool")
        return new
    if isinstance(value, list):
        return [_renamed(inside) for inside in value]
    return CLASSES.get(value, value) if isinstance(value, str) else value


def _path_score(found: dict[str, Any]) -> dict[str, str]:
    """The new name of a path score, where the old one is given."""
    return {"path_score": "decayed"} if found.get("path_score") == "fading" else {}


def _named(shapes: Any, prefix: str) -> Any:
    """Shapes of trees with the names of their files."""
    return [{**shape, "files": f"{prefix}{i}"} for i, shape in enumerate(shapes)]
