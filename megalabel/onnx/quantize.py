"""A graph with weights in 8 bits, by onnxruntime."""

from __future__ import annotations

from pathlib import Path

from megalabel.onnx.graph import INLINE_BYTES
from megalabel.onnx.libraries import library, quiet


def quantize(file: Path, out: Path, inline_bytes: int = INLINE_BYTES) -> None:
    """Writes a copy of a graph whose matrix products and tables have weights in 8 bits.

    Inputs of products are rounded to 8 bits as well, with a scale that each run computes.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    library("onnxruntime")
    quantization = library("onnxruntime.quantization")
    size = sum(part.stat().st_size for part in (file, file.with_name(f"{file.name}.data")) if part.exists())
    with quiet():
        quantization.quantize_dynamic(
            str(file),
            str(out),
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            use_external_data_format=size / 4 > inline_bytes,
        )
