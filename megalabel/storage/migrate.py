"""What version 0.1.0 wrote, with the names of today: manifests of models, and the recipe.json of runs."""

from __future__ import annotations

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
DEEPEST = 62  # of a tree of 0.1.0: beyond is no number that an array could have
HELD_OUT_FOR_HYBRID = 0.05  # what version 0.1.0 held out with `hybrid` where `validation` was 0


def model_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a saved model with the class paths and keys of today; one of today as it is."""
    new = {key: _renamed(value) for key, value in manifest.items() if key != "sha256"}
    if {"joined", "alone"} <= manifest.keys():
        new["joint_trees"] = _named(new.pop("joined"), "joined")
        new["word_trees"] = _named(new.pop("alone"), "alone")
        new["base"] = "first"
    return {**new, "sha256": manifest.get("sha256")}


def recipe_json(facts: dict[str, Any]) -> dict[str, Any]:
    """The content of a run's recipe.json with the names of today."""
    arguments = facts.get("arguments")
    return {**facts, "arguments": migrate_arguments(arguments)} if isinstance(arguments, dict) else facts


def held_out(facts: dict[str, Any]) -> tuple[float, int]:
    """The fraction of its training texts that a run of 0.1.0 held out, and the seed by which they were drawn.

    facts: its recipe.json with the names of today.
    """
    arguments = facts["arguments"]
    return float(arguments.get("validation_fraction", 0.0)), int(arguments.get("seed", 0))


def migrate_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a recipe of version 0.1.0 as options of today; today's come back as they are.

    `hybrid = true`, which was an option of three recipes, becomes `second_stage = "hybrid"`, which is no option.
    """
    if not any(name in arguments for name in (*OPTIONS, "hybrid")):
        return arguments
    found = {OPTIONS.get(name, name): value for name, value in arguments.items()}
    if "clusters" in found:
        found["clusters"] = [2 ** min(depth, DEEPEST) for depth in found["clusters"]]
    if isinstance(found.get("label_texts"), bool):
        found["label_texts"] = "yes" if found["label_texts"] else "no"
    if found.get("tokenizer") == "own":
        found["tokenizer"] = "wordpiece"
    if found.get("path_score") == "fading":
        found["path_score"] = "decayed"
    for name in ("reduction", "tree"):
        if found.get(name) == "":
            found[name] = None
    if found.pop("hybrid", False):
        found["second_stage"] = "hybrid"
        found["validation_fraction"] = found.get("validation_fraction") or HELD_OUT_FOR_HYBRID
    return found


def _renamed(value: Any) -> Any:
    """Class paths and the key of a class's arguments, at any depth."""
    if isinstance(value, dict):
        described = {"class", "settings"} <= value.keys()
        return {
            "config" if described and key == "settings" else key: _renamed(inside) for key, inside in value.items()
        }
    if isinstance(value, list):
        return [_renamed(inside) for inside in value]
    return CLASSES.get(value, value) if isinstance(value, str) else value


def _named(shapes: Any, prefix: str) -> Any:
    """Shapes of trees with the names of their files."""
    return [{**shape, "files": f"{prefix}{i}"} for i, shape in enumerate(shapes)]
