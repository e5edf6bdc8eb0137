"""Stochastic rounding to narrow types, and tables of weights that are stored in them."""
