"""Search over recipes and the values of their options, within a given time, by scores on held-out texts."""
