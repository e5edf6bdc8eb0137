"""Search for the best labels in tables of 8-bit integers, and exact scores of the labels found."""
