"""Linear classifiers over sparse features: dual coordinate descent, sparse chunks, beam search."""
