"""Reports on runs and stored predictions: what was trained, how well it ranks, and where it is weak."""
