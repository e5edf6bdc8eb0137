"""Trained classifiers: texts in, the top k labels out, saved as one folder each."""
