"""Several processes that train or predict together, each with its own range of labels, on torch.distributed."""
