"""A model as one graph in a file: token ids or code points to the k best labels and their scores."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.models.base import Classifier
from megalabel.models.linear import LinearClassifier
from megalabel.models.neural import NeuralClassifier
from megalabel.onnx.base import ExportedGraph, Inputs
from megalabel.onnx.encoders import encoder_graph, refused
from megalabel.onnx.heads import head_graph
from megalabel.onnx.libraries import quiet
from megalabel.onnx.linear import LinearGraph

RECENT = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)  # what the extra `onnx` needs
OPSET = 20  # the first in which an exact GELU is one operation
INLINE_BYTES = 1_900_000_000  # weights above are stored beside the graph: a file of protobuf ends at 2 GiB


def graph_of(model: Classifier, k: int) -> ExportedGraph:
    """The graph of a model, in evaluation mode.

    Args:
        model: any.
        k: labels per text, from 1 to those of the model.

    Raises:
        SettingError: a model that cannot be exported.
    """
    if type(model) is NeuralClassifier:
        return ModelGraph(model, k)
    if type(model) is LinearClassifier:
        return LinearGraph(model, k)
    raise refused(f"a model of the kind {type(model).__name__}")


class ModelGraph(ExportedGraph):
    """Encoder, head and top k of a classifier, in evaluation mode.

    Args:
        model: an encoder with a head.
        k: labels per text, from 1 to those of the model.

    Raises:
        SettingError: another kind of encoder or head.
    """

    def __init__(self, model: NeuralClassifier, k: int) -> None:
        super().__init__()
        self.max_length = model.max_length
        self.encoder = encoder_graph(model.encoder, model.max_length)
        self.head = head_graph(model.head, k)
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Maps ids and mask (n, T) int64 to labels (n, k) int64 and scores (n, k) float32, best first."""
        scores, labels = self.head(self.encoder(input_ids, attention_mask.bool()))
        return labels, scores

    def inputs(self) -> Inputs:
        """Ids and mask."""
        tokens = min(max(self.max_length, 2), 6)
        example = torch.zeros(2, tokens, dtype=torch.int64), torch.ones(2, tokens, dtype=torch.int64)
        axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=max(self.max_length, 3))}
        return Inputs(("input_ids", "attention_mask"), example, axes)


def write_graph(graph: ExportedGraph, file: Path, inline_bytes: int = INLINE_BYTES) -> None:
    """Writes a graph; weights of more than `inline_bytes` become a second file, named like the first with `.data`.

    Args:
        graph: on the CPU.
        file: the file.
        inline_bytes: see above.

    Raises:
        SettingError: PyTorch cannot export this model.
    """
    inputs = graph.inputs()
    try:
        with torch.no_grad(), quiet():
            program = torch.onnx.export(
                graph,
                inputs.examples,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs.names),
                output_names=["labels", "scores"],
                dynamic_shapes=dict.fromkeys(inputs.names, inputs.dims),
                verbose=False,
            )
            assert program is not None
            program.save(str(file), external_data=graph.n_bytes() > inline_bytes)
    except (RuntimeError, ValueError, TypeError) as error:  # of torch.export, torch.onnx, and the encoder's code
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        another = "train it with another encoder, such as bag, small or minilm"
        raise SettingError(
            f"PyTorch {torch.__version__} cannot export this model ({reason})",
            wanted="a model whose operations ONNX has",
            next_step=another
            if RECENT
            else "run pip install 'megalabel[onnx]', which needs PyTorch 2.13 or later",
            where="run",
        ) from error
