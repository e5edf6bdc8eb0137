"""The inputs of models: tokens, batches, and sparse features of words."""
