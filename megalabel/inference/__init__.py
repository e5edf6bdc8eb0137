"""A trained model at work: predictions and measurements."""
