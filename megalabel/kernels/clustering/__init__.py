"""Balanced splits and random walks over labels."""
