"""Label trees with a linear classifier per label, fitted by a direct solver."""
