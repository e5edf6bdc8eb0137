"""Implementations for the CPU (numba), imported by this family of kernels only."""
