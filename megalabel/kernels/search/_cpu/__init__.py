"""Numba implementations of the operations of `search`."""
