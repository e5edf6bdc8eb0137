"""Models as ONNX graphs: encoder, head and top k in one file, for runtimes without PyTorch."""
