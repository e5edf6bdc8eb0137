"""Predicted bytes of components against the tensors of small models."""

import math

import numpy as np
import pytest
import torch
from planted import planted
from support.light_runs import LIGHT

from megalabel.encoders.bag import Bag
from megalabel.encoders.start import start_tokenizer
from megalabel.encoders.transformer import Transformer
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.kernels.all_labels import memory as all_labels
from megalabel.kernels.all_labels.label_pass import Chunks
from megalabel.kernels.candidates import memory as candidates
from megalabel.kernels.candidates.row_adagrad import adagrad_state
from megalabel.kernels.candidates.row_step import adam_state
from megalabel.kernels.fan_in import memory as fan_in
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.labels.cluster import choose_depths
from megalabel.labels.tree import LabelTree
from megalabel.planning.answers import prediction
from megalabel.planning.components import components_of, peak
from megalabel.planning.encoders import EncoderShape, shape_of
from megalabel.planning.job import Data, Job
from megalabel.planning.levels import BEAMS, depths_for
from megalabel.planning.timing import work_of
from megalabel.recipes import get
from megalabel.recipes.levels import BY_LEVELS
from megalabel.recipes.renee import renee


def n_bytes(tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("bias", [False, True])
def test_a_dense_head_takes_what_is_predicted(bias):
    head = DenseHead(1000, 24, bias=bias)
    assert all_labels.weights(1000, 24, bias=bias) == n_bytes(head.state_dict().values())
    for name, width in (("bfloat16", 2), ("float8", 1)):
        narrow = DenseHead(1000, 24, bias=bias, weights=name)
        taken = n_bytes(narrow.state_dict().values())
        assert all_labels.weights(1000, 24, bias=bias, weight_bytes=width) == taken


@pytest.mark.parametrize(("dim", "group"), [(24, 1), (300, 1), (300, 16)])
def test_a_sparse_head_takes_what_is_predicted(dim, group):
    head = SparseHead(1000, dim, fan_in=8, group=group)
    assert fan_in.weights(1000, 8) == n_bytes([head.weight, head.bias])
    assert fan_in.inputs(1000, 8, dim, group) == n_bytes([head.get_buffer("inputs")])
    for weights, of_weight, of_row in (("bfloat16", 2, 0), ("float8", 1, 1)):
        narrow = SparseHead(1000, dim, fan_in=8, group=group, weights=weights)
        taken = [narrow.weight, narrow.bias, *([narrow.weight_exponents] if of_row else [])]
        assert fan_in.weights(1000, 8, weight_bytes=of_weight, row_bytes=of_row) == n_bytes(taken)


def test_a_cascade_takes_what_is_predicted():
    tree = LabelTree.from_clusters([[[0, 1], [2]], [[0, 4, 2], [1, 3], [5]]])
    head = CascadeHead(tree, 24, beams=(2, 2))
    sizes = tree.sizes
    assert candidates.tables(sizes, 24) == n_bytes(head.parameters())
    assert candidates.tree(sizes) == n_bytes(head.buffers())
    narrow = CascadeHead(tree, 24, beams=(2, 2), weights="float8")
    taken = n_bytes([*narrow.parameters(), *(narrow.get_buffer(f"exponents_{i}") for i in range(3))])
    assert candidates.tables(sizes, 24, weight_bytes=1, row_bytes=1) == taken
    states = [adam_state(weight, bias) for weight, bias in head.tables()]
    assert candidates.adam_state(sizes, 24) == sum(n_bytes(state.values()) for state in states)
    states = [adagrad_state(weight, bias) for weight, bias in head.tables()]
    assert candidates.adagrad_state(sizes) == sum(n_bytes(state.values()) for state in states)


@pytest.mark.parametrize("n_labels", [2, 500, 31_000, 670_091, 2_812_281])
def test_levels_are_those_of_the_clustering(n_labels):
    assert depths_for(n_labels) == choose_depths(n_labels)
    assert {n: usual.beams for n, usual in BY_LEVELS.items()} == BEAMS


@pytest.mark.parametrize(("n_labels", "dim", "n_texts"), [(10, 8, 4), (131_073, 768, 512), (2_812_281, 256, 64)])
@pytest.mark.parametrize("threads", [1, 2, 16])
def test_chunks_are_those_of_the_pass(n_labels, dim, n_texts, threads, monkeypatch):
    monkeypatch.setattr("megalabel.kernels.all_labels.label_pass.thread_count", lambda device: threads)
    chunks = Chunks.for_shape(n_labels, dim, n_texts, torch.device("cpu"))
    assert all_labels.chunk(n_labels, dim, n_texts, threads) == chunks.size


@pytest.mark.parametrize("type_", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_transformer_keeps_what_is_predicted_for_its_backward_pass(type_, checkpointing):
    shape = EncoderShape(type_, 2, 32, 64, 4, 500, 66, 0 if type_ == "distilbert" else 2)
    encoder = made(shape, checkpointing)
    assert 4 * (shape.dense() + shape.table()) == n_bytes(encoder.parameters())
    tokens = torch.ones(4, 16, dtype=torch.int64)
    mask = torch.ones(4, 16, dtype=torch.bool)
    mask[:, -2:] = False
    own = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    kept = {}

    def pack(t):
        if t.untyped_storage().data_ptr() not in own:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes(), t  # holds the memory
        return t

    encoder.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        encoder(tokens, mask)
    of_layers = shape.layers * (4 * 64 * 32 if checkpointing else shape.layer_activations(64, 16))
    predicted = shape.embedding_activations(64) + of_layers
    assert sum(size for size, _ in kept.values()) == pytest.approx(predicted, rel=0.1)


def made(shape, checkpointing):
    names = {"hidden_size": shape.hidden, "intermediate_size": shape.inner, "num_hidden_layers": shape.layers,
             "num_attention_heads": shape.heads, "type_vocab_size": shape.types}  # fmt: skip
    if shape.type == "distilbert":
        names = {"dim": shape.hidden, "hidden_dim": shape.inner, "n_layers": shape.layers, "n_heads": shape.heads}
    config = {"model_type": shape.type, "vocab_size": shape.vocabulary, "max_position_embeddings": shape.positions,
              "pad_token_id": 0, **names}  # fmt: skip
    tokenizer = learn_tokenizer(["one two three"], 100)
    return Transformer.untrained(config, tokenizer, gradient_checkpointing=checkpointing)


@pytest.mark.parametrize("views", [1, 3])
def test_a_bag_takes_what_is_predicted(views):
    shape = shape_of("bag")
    encoder = Bag(start_tokenizer(), dim=256, n_views=views)
    weights = 4 * (shape.dense(views) + shape.table() + shape.vocabulary)
    assert weights == n_bytes(encoder.state_dict().values())


def test_a_recipe_takes_the_weights_and_states_that_are_predicted():
    """The tensors of a recipe after a step, by the names of components."""
    recipe = renee(planted(), **{**LIGHT, "head_optimizer": "sgd", "accumulation_steps": 2, "label_texts": "no"})
    values = recipe.arguments
    job = Job.of("renee", {**values, "vocabulary": recipe.encoder.tokenizer.vocabulary_size}, Data(64, 380), 1)
    parts = {part.name: part.n_bytes for part in components_of(job, 0.0)}
    assert parts["head weights"] == n_bytes(recipe.head.state_dict().values())
    assert parts["encoder weights"] == n_bytes(recipe.encoder.state_dict().values())
    assert parts["head momentum"] == parts["head weights"]
    assert math.isclose(
        parts["encoder optimizer state"], 2 * n_bytes(recipe.encoder.parameters()), rel_tol=0.02
    )  # and step counts


@pytest.mark.parametrize(("recipe", "state"), [("spartex", 8 * 1000), ("cascadexml", None)])
def test_row_wise_adagrad_counts_two_numbers_per_label(recipe, state):
    """That of the weights and that of the bias; in a cascade, those of the clusters too."""
    values = get(recipe).options(encoder="bag", head_optimizer="adagrad", accumulation_steps=1).values()
    job = Job.of(recipe, values, Data(1000), 2)
    parts = {p.name: p.n_bytes for p in components_of(job, 0.0)}
    assert parts["head optimizer state"] == (state or 8 * sum(job.levels.sizes))
    adam = {p.name: p.n_bytes for p in components_of(job.having(head_optimizer="adamw"), 0.0)}
    assert parts["head optimizer state"] < adam["head optimizer state"] / 10
    assert work_of(job).n_bytes < work_of(job.having(head_optimizer="adamw")).n_bytes


def test_narrow_weights_and_momentum_are_counted_by_their_bytes():
    values = {**get("renee").options(encoder="bag").values(), "weights": "float8", "momentum_dtype": "bfloat16"}
    parts = {p.name: p.n_bytes for p in components_of(Job.of("renee", values, Data(1000), 2), 0.0)}
    assert parts["head weights"] == 1000 * (256 + 1)  # and the scale of each label
    assert parts["head momentum"] == 2 * 1000 * 256
    more = {"encoder": "bag", "head_optimizer": "sgd", "weights": "float8", "momentum_dtype": "bfloat16"}
    values = get("spartex").options(**more, fan_in=32).values()
    parts = {p.name: p.n_bytes for p in components_of(Job.of("spartex", values, Data(1000), 2), 0.0)}
    assert parts["head weights"] == 1000 * (32 + 1 + 4)  # codes, exponent, bias
    assert parts["head optimizer state"] == 1000 * (2 * 32 + 4)
    values |= {"compensated_fraction": 0.2, "dense_fraction": 0.05}  # 50 labels dense, 150 of the others
    parts = {p.name: p.n_bytes for p in components_of(Job.of("spartex", values, Data(1000), 2), 0.0)}
    momentum = 2 * (950 * 32 + 50 * 256) + 4 * 1000
    assert parts["head optimizer state"] == momentum + 2 * (50 * 256 + 150 * 32)


@pytest.mark.parametrize("recipe", ["renee", "elmo", "cascadexml"])
def test_predictions_count_narrow_weights_as_they_are_stored_and_read(recipe):
    values = get(recipe).options(encoder="bag").values()
    jobs = [Job.of(recipe, {**values, "weights": name}, Data(20_000), 1) for name in ("float32", "float8")]
    wide, narrow = ({p.name: p.n_bytes for p in prediction(job, 0.0)} for job in jobs)
    rows = sum(jobs[1].levels.sizes) if recipe == "cascadexml" else 20_000
    saved = rows * (3 * jobs[1].dim - 1)  # a byte per weight and the scale of each row instead of four bytes
    assert wide["head weights"] - narrow["head weights"] == saved
    assert narrow["search"] > wide["search"]


def test_a_search_reads_only_level_0_of_narrow_tables_at_once(monkeypatch):
    head = CascadeHead(LabelTree.from_parents([np.arange(400) // 8]), 16, beams=(5,), weights="float8").eval()
    read, load = [], NarrowTable.load

    def spied(self, start, stop, *rest):
        read.append(stop - start)
        return load(self, start, stop, *rest)

    monkeypatch.setattr(NarrowTable, "load", spied)
    monkeypatch.setattr(NarrowTable, "load_rows", None)
    head.topk(torch.randn(1, head.n_views, 16), 2)
    assert read == []
    head.topk(torch.randn(3, head.n_views, 16), 2)
    assert read == [50]
    levels = (50, 400), (5,)
    assert (
        candidates.narrow_beam_working(*levels, 16, 3, 2) - candidates.beam_working(*levels, 3, 2) == 50 * 16 * 4
    )


def test_a_sparse_step_on_narrow_numbers_counts_a_chunk_of_each_as_float32():
    for n_texts in (8, 64, 72, 100):
        wide, both = (fan_in.working(32, 64, n_texts, 2, narrow=narrow) for narrow in (0, 2))
        assert both - wide == 4 * 2 * 2 * fan_in.CONNECTIONS


def test_a_peak_counts_what_is_in_memory_at_the_same_time():
    job = Job.of("renee", get("renee").options(encoder="bert-base-uncased").values(), Data(1000), 2)
    parts = components_of(job, 5e8)
    everything = sum(part.n_bytes for part in parts)
    assert 5e8 < peak(parts) < everything
    assert peak(parts) > sum(part.n_bytes for part in parts if part.when == "always")


def test_moments_of_the_encoder_in_8_bits_are_counted_with_the_step_that_packs_them():
    def parts(**values):
        options = get("renee").options(encoder="bert-base-uncased", **values)
        return {p.name: p.n_bytes for p in components_of(Job.of("renee", options.values(), Data(1000), 2), 0.0)}

    wide, narrow = parts(), parts(encoder_optimizer="adamw8bit")
    assert narrow["encoder optimizer state"] == wide["encoder optimizer state"] * (1 + 4 / 256) / 4
    assert narrow["moments of the largest table in a step"] == 8 * 30522 * 768
    assert narrow.keys() - wide.keys() == {
        "moments of the largest table in a step",
        "compiler of the optimizer's step",
    }
