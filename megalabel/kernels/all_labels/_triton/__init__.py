"""Implementations for GPUs (Triton), imported by this family of kernels only."""
