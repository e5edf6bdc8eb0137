"""Bodies of the operations for CUDA, in Triton, which comes with torch's CUDA builds and is imported only here."""
