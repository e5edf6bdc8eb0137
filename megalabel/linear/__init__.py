"""Label trees with a linear classifier per node and label, fitted by a direct solver."""
