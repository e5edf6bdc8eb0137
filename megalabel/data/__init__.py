"""Texts and label sets: read, checked, written, tokenised, batched."""
