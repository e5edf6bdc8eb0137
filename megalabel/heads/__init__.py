"""Heads: views of texts to a training loss or the top k labels."""
