"""What a model reads of a text: tokens, batches, word features."""
