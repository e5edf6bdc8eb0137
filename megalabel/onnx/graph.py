"""A model as one graph in a file: token ids and mask to the k best labels and their scores."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.models.base import Classifier
from megalabel.models.neural import NeuralClassifier
from megalabel.onnx.encoders import encoder_graph, refused
from megalabel.onnx.heads import head_graph
from megalabel.onnx.libraries import quiet

OPSET = 20  # the first in which an exact GELU is one operation
INLINE_BYTES = 1_900_000_000  # weights above are stored beside the graph: a file of protobuf ends at 2 GiB


class ModelGraph(nn.Module):
    """Encoder, head and top k of a classifier, in evaluation mode.

    Args:
        model: an encoder with a head.
        k: labels per text, from 1 to those of the model.

    Raises:
        SettingError: another kind of model, encoder or head.
    """

    def __init__(self, model: Classifier, k: int) -> None:
        super().__init__()
        if type(model) is not NeuralClassifier:
            raise refused(f"a {type(model).__name__}")
        self.encoder = encoder_graph(model.encoder, model.max_length)
        self.head = head_graph(model.head, k)
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Maps ids and mask (n, T) int64 to labels (n, k) int64 and scores (n, k) float32, best first."""
        scores, labels = self.head(self.encoder(input_ids, attention_mask.bool()))
        return labels, scores

    def n_bytes(self) -> int:
        """The memory of the weights."""
        tensors = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def write_graph(graph: ModelGraph, file: Path, max_length: int, inline_bytes: int = INLINE_BYTES) -> None:
    """Writes a graph; weights of more than `inline_bytes` become a second file, named like the first with `.data`.

    Args:
        graph: on the CPU.
        file: the file.
        max_length: the most tokens of a text.
        inline_bytes: see above.

    Raises:
        SettingError: PyTorch cannot export this encoder.
    """
    tokens = min(max(max_length, 2), 6)
    example = torch.zeros(2, tokens, dtype=torch.int64), torch.ones(2, tokens, dtype=torch.int64)
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=max(max_length, 3))}
    try:
        with torch.no_grad(), quiet():
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=["input_ids", "attention_mask"],
                output_names=["labels", "scores"],
                dynamic_shapes={"input_ids": axes, "attention_mask": axes},
                verbose=False,
            )
            assert program is not None
            program.save(str(file), external_data=graph.n_bytes() > inline_bytes)
    except (
        RuntimeError,
        ValueError,
        TypeError,
    ) as error:  # of torch.export, torch.onnx and the encoder's own code
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise SettingError(
            f"PyTorch {torch.__version__} cannot export this encoder ({reason})",
            wanted="an encoder whose operations ONNX has",
            next_step="train the model with another encoder, such as bag, small or minilm",
            where="run",
        ) from error
